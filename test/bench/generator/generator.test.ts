import { fromBinary, toBinary } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type FleetSpec, phaseOf } from '../../../bench/generator/fleet.ts';
import { fleetSpec, Generator } from '../../../bench/generator/generator.ts';
import { fillLines } from '../../../bench/generator/line-template.ts';
import { fillRequest } from '../../../bench/generator/request-template.ts';
import { fillRows } from '../../../bench/generator/row-template.ts';
import { addTally, differences, QUANTITIES, type Tally } from '../../../bench/generator/tally.ts';
import { type SendMetricsBatchRequest, SendMetricsBatchRequestSchema } from '../../../gen/billing/v1/collector_pb.ts';
import type { BillingMetrics } from '../../../gen/billing/v1/metrics_pb.ts';
import { parseWindow } from '../../../src/ingest/validate.ts';

const NOW_MS = Date.UTC(2026, 10, 21, 12, 34, 56);
const SENDER = { credentialId: 'key', regions: undefined, customerIds: undefined, backfill: false };
const BOUNDS = { nowNanos: BigInt(NOW_MS) * 1_000_000n, lateDaysMax: 35, rawDays: 400, aheadNanosMax: 0n };

const specs = fc
  .record({
    seed: fc.nat(),
    hosts: fc.integer({ min: 1, max: 20 }),
    firstHost: fc.constantFrom(0, 7, 500_000, 999_900),
    vmsPerHost: fc.constantFrom(4, 7, 10),
    minutesPerBatch: fc.constantFrom(1, 10, 60),
    customers: fc.integer({ min: 1, max: 50 }),
    shapes: fc.constantFrom(undefined, 1, 5),
  })
  .map((given) => fleetSpec({ nowMs: NOW_MS, ...given }));

/** A batch's bytes, in memory of their own. */
function bodyOf(spec: FleetSpec, number: number): Buffer {
  const generator = Generator.ofRequests(spec);
  const job = generator.job(number);
  const template = generator.template(job);
  // What lay there before must not shine through.
  const target = Buffer.alloc(template.bytes.length + 10, 0xff);
  return Buffer.from(fillRequest(template, target, { ...job, job: job.number }));
}

function requestOf(spec: FleetSpec, number: number): SendMetricsBatchRequest {
  return fromBinary(SendMetricsBatchRequestSchema, bodyOf(spec, number));
}

function tallyOf(windows: readonly BillingMetrics[]): Tally {
  const tally: Tally = new Map();
  for (const each of windows) {
    const sums = tally.get(each.customerId) ?? { windows: 0n, quantities: QUANTITIES.map(() => 0n) };
    const values = { ...each, memoryByteSeconds: each.memoryBytesSeconds };
    const quantities = QUANTITIES.map((quantity, i) => (sums.quantities[i] ?? 0n) + values[quantity]);
    tally.set(each.customerId, { windows: sums.windows + 1n, quantities });
  }
  return tally;
}

describe('the generator', () => {
  it('makes the same bytes of the same seed, and others of another', () => {
    fc.assert(
      fc.property(specs, fc.nat(30), (spec, number) => {
        expect(bodyOf(spec, number).equals(bodyOf({ ...spec }, number))).toBe(true);
        expect(bodyOf({ ...spec, seed: spec.seed + 1 }, number).equals(bodyOf(spec, number))).toBe(false);
      }),
      { numRuns: 20 },
    );
  });

  it('makes requests that protobuf reads and writes alike, of windows that are taken', () => {
    fc.assert(
      fc.property(specs, fc.nat(100), (spec, number) => {
        const body = bodyOf(spec, number);
        const request = fromBinary(SendMetricsBatchRequestSchema, body);
        expect(Buffer.from(toBinary(SendMetricsBatchRequestSchema, request)).equals(body)).toBe(true);
        expect(request.metrics).toHaveLength(spec.vmsPerHost * spec.minutesPerBatch);
        for (const metrics of request.metrics) parseWindow(metrics, SENDER, BOUNDS);
      }),
      { numRuns: 20 },
    );
  });

  it('keeps totals that are the sums of what it sends', () => {
    fc.assert(
      fc.property(specs, fc.integer({ min: 1, max: 30 }), (spec, batches) => {
        const generator = Generator.ofRequests(spec);
        const kept: Tally = new Map();
        const sent: BillingMetrics[] = [];
        for (let number = 0; number < batches; number++) {
          addTally(kept, generator.template(generator.job(number)).totals);
          sent.push(...requestOf(spec, number).metrics);
        }
        expect(differences(tallyOf(sent), kept)).toEqual([]);
      }),
      { numRuns: 10 },
    );
  });

  it('never sends the same window twice', () => {
    const spec = fleetSpec({ nowMs: NOW_MS, hosts: 5, vmsPerHost: 10, shapes: 2 });
    const keys = new Set<string>();
    for (let number = 0; number < 100; number++) {
      for (const { vmId, windowStart } of requestOf(spec, number).metrics) keys.add(`${vmId} ${windowStart?.seconds}`);
    }
    expect(keys.size).toBe(100 * 100);
  });

  it('gives fleets customers of their own where their numbers are apart', () => {
    const customersFrom = (firstCustomer: number): Set<string> => {
      const spec = fleetSpec({ nowMs: NOW_MS, hosts: 8, customers: 20, firstCustomer });
      const batches = Array.from({ length: spec.hosts }, (_, number) => requestOf(spec, number).metrics);
      return new Set(batches.flat().map((metrics) => metrics.customerId));
    };
    const [first, second] = [customersFrom(1), customersFrom(21)];
    expect([first.has('cust-00001'), first.size, second.size]).toEqual([true, 20, 20]);
    expect([...first].filter((customerId) => second.has(customerId))).toEqual([]);
  });

  it('says when a fleet has no more windows that are over', () => {
    const generator = Generator.ofRequests(fleetSpec({ nowMs: NOW_MS, hosts: 1 }));
    expect(() => generator.job(34 * 144)).toThrow(/more hosts are needed/);
  });

  it('lets VMs start and stop, and customers differ in size', () => {
    const spec = fleetSpec({ nowMs: NOW_MS, hosts: 32 });
    const idsAt = (minutes: number): Set<string> => {
      const number = (minutes / spec.minutesPerBatch) * spec.hosts;
      return new Set(requestOf(spec, number).metrics.map((metrics) => metrics.vmId));
    };
    const [night, noon] = [idsAt(0), idsAt(720)];
    expect(phaseOf(spec.firstMinute)).not.toBe(phaseOf(spec.firstMinute + 720));
    const stayed = [...night].filter((vmId) => noon.has(vmId)).length;
    expect([night.size, noon.size, stayed]).toEqual([60, 60, 45]);
    const tally = tallyOf(Array.from({ length: 32 }, (_, host) => requestOf(spec, host).metrics).flat());
    const sizes = [...tally.values()].map((sums) => Number(sums.windows)).toSorted((a, b) => b - a);
    expect(sizes[0]).toBeGreaterThan(20 * (sizes.at(-1) ?? 0));
  });
});

describe('the other forms of the same windows', () => {
  const spec = fleetSpec({ nowMs: NOW_MS, hosts: 3, firstHost: 42 });

  it('are rows with the keys of the request', () => {
    const rows = Generator.ofRows(spec);
    const job = rows.job(4);
    const bytes = fillRows(rows.template(job), Buffer.alloc(1_000_000), job);
    let at = 0;
    const text = () => bytes.toString('latin1', at + 1, (at += 1 + (bytes[at] ?? 0)));
    const numbers = (count: number) => Array.from({ length: count }, () => bytes.readBigUInt64LE((at += 8) - 8));
    for (const { customerId, vmId, windowStart, windowEnd } of requestOf(spec, 4).metrics) {
      expect([text(), text()]).toEqual([customerId, vmId]);
      const [start = 0n, end = 0n] = numbers(3);
      expect([start / 10n ** 9n, end / 10n ** 9n]).toEqual([windowStart?.seconds, windowEnd?.seconds]);
      text();
      numbers(13);
      expect([text(), text()]).toEqual(['', 'metald-000000']);
      numbers(1);
      text();
      numbers(1);
    }
    expect(at).toBe(bytes.length);
  });

  it('are lines with the values of the request', () => {
    const lines = Generator.ofLines(spec);
    const job = lines.job(4);
    const text = fillLines(lines.template(job), Buffer.alloc(1_000_000), job).toString();
    const found = text.trimEnd().split('\n');
    requestOf(spec, 4).metrics.forEach((metrics, i) => {
      const line = found[i] ?? '';
      expect(line).toContain(`vm=${metrics.vmId},customer=${metrics.customerId},region=${metrics.region} `);
      expect(line).toContain(`cpu_time_nanos=${metrics.cpuTimeNanos}i,`);
      expect(line).toContain(`,network_tx_bytes=${metrics.networkTxBytes}i,`);
      expect(line.endsWith(` ${metrics.windowEnd?.seconds}000000000`)).toBe(true);
    });
  });
});

describe('comparing totals', () => {
  it('names a digit that differs, a customer that is missing and one too many', () => {
    const one = (windows: bigint): Tally => new Map([['a', { windows, quantities: QUANTITIES.map(() => 5n) }]]);
    expect(differences(one(1n), one(1n))).toEqual([]);
    expect(differences(one(1n), one(2n))).toEqual(['a: windows 1 sent, 2 stored']);
    expect(differences(one(1n), new Map())).toHaveLength(1 + QUANTITIES.length);
    expect(differences(new Map(), one(1n))).toContain('a: cpuTimeNanos 0 sent, 5 stored');
  });
});
