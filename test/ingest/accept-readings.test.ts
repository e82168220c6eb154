import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { toBinary } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SendMetricsBatchRequestSchema } from '../../gen/billing/v1/collector_pb.ts';
import { type BillingMetrics, CounterTemporality } from '../../gen/billing/v1/metrics_pb.ts';
import { type Batch, Ingest } from '../../src/ingest/accept-batch.ts';
import type { ReportedReading } from '../../src/ingest/accept-readings.ts';
import { RecentWindows } from '../../src/ingest/dedup.ts';
import { readEvidence } from '../../src/ingest/evidence-rows.ts';
import type { Backfilled, Verdict } from '../../src/ingest/intake.ts';
import { parseSample, type SampleRow } from '../../src/ingest/reading.ts';
import { ReadingWalk } from '../../src/ingest/reading-walk.ts';
import { decodeRecord } from '../../src/ingest/record.ts';
import type { RefusedBatch } from '../../src/ingest/refused.ts';
import { splitBatch } from '../../src/ingest/wire-batch.ts';
import { aSample } from './a-reading.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';
import { HeldSpool, isSettled } from './held-spool.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

function ingestOn(spool: HeldSpool, recent = new RecentWindows(1000)) {
  const told = { backfilled: [] as Backfilled[], refused: [] as RefusedBatch[], verdicts: [] as Verdict[] };
  const ingest = new Ingest({
    clock: { nowMs: () => NOW_MS, nowNanos: () => BigInt(NOW_MS) * 1_000_000n },
    spool,
    recent,
    batchWindowsMax: 10,
    lateDaysMax: 35,
    rawDays: 400,
    aheadSecondsMax: 300,
    onAccepted: () => {
      throw new Error('readings are no windows');
    },
    onVerdict: (verdict) => told.verdicts.push(verdict),
    onRefused: (batch) => told.refused.push(batch),
    onBackfilled: (_, sum) => told.backfilled.push(sum),
  });
  return { ingest, told };
}

const aTotal = (changes: Parameters<typeof aWindow>[0] = {}): BillingMetrics => aWindow({ bootId: 'b', ...changes });

function totalsOf(...metrics: BillingMetrics[]): Batch {
  return { metrics, instanceId: 'metald-1', sequence: 1n, counterTemporality: CounterTemporality.CUMULATIVE };
}

function rowsIn(payload: Buffer | undefined): SampleRow[] {
  const record = decodeRecord(payload ?? Buffer.alloc(0));
  expect(record.rowCount).toBe(0);
  return record.evidence.flatMap(({ table, rows }) => {
    return table === 'counter_samples' ? [...readEvidence(table, rows)] : [];
  });
}

describe('a batch of totals', () => {
  it('is answered only once its readings are on disk', async () => {
    const spool = new HeldSpool();
    const { ingest, told } = ingestOn(spool);
    const verdict = ingest.accept(totalsOf(aTotal(), aTotal({ vmId: 'vm-2' })), anySender);
    expect(await isSettled(verdict)).toBe(false);
    spool.syncs[0]?.resolve();
    const expected = { accepted: 2, duplicate: 0, conflicting: 0, refused: 0, faults: [] };
    expect(await verdict).toEqual(expected);
    expect(told.verdicts).toEqual([expected]);
    expect(rowsIn(spool.payloads[0])).toMatchObject([
      { vm_id: 'vm-1', boot_id: 'b', counters: 2, instance_id: 'metald-1', linked_to: 0n },
      { vm_id: 'vm-2' },
    ]);
  });

  it('comes to the same rows as protobuf and decoded', async () => {
    const spool = new HeldSpool();
    const metrics = [aTotal(), aTotal({ vmId: 'vm-2', bootId: '' }), aTotal({ vmId: 'vm-3' })];
    const message = toBinary(SendMetricsBatchRequestSchema, create(SendMetricsBatchRequestSchema, { metrics }));
    const verdicts = [metrics, splitBatch(message).windows].map((each) => {
      return ingestOn(spool).ingest.accept({ ...totalsOf(), metrics: each }, anySender);
    });
    for (const sync of spool.syncs) sync.resolve();
    const [decoded, wire] = await Promise.all(verdicts);
    expect(wire).toEqual(decoded);
    expect(decoded).toMatchObject({ accepted: 2, refused: 1, faults: [{ index: 1, fault: { field: 'boot_id' } }] });
    expect(spool.payloads[1]).toEqual(spool.payloads[0]);
  });

  it('loses the one that cannot be decoded, and only that', async () => {
    const spool = new HeldSpool();
    const { ingest, told } = ingestOn(spool);
    const message = toBinary(
      SendMetricsBatchRequestSchema,
      create(SendMetricsBatchRequestSchema, { metrics: [aTotal()] }),
    );
    // Field 1, a message of two bytes: its field 1 says it is 5 bytes long.
    const metrics = splitBatch(Buffer.concat([message, Buffer.from([0x0a, 2, 0x0a, 5])])).windows;
    const verdict = ingest.accept({ ...totalsOf(), metrics }, anySender);
    spool.syncs[0]?.resolve();
    expect(await verdict).toMatchObject({ accepted: 1, refused: 1, faults: [{ index: 1 }] });
    expect(told.refused[0]?.windows).toMatchObject([{ metrics: undefined, fault: { kind: 'invalid_argument' } }]);
  });

  it('takes no reading of another customer, or of another VM, for one that is known', async () => {
    const spool = new HeldSpool();
    const { ingest } = ingestOn(spool);
    const others = [aTotal(), aTotal({ customerId: 'amce' }), aTotal({ vmId: 'vm-2' })];
    const verdict = ingest.accept(totalsOf(...others, aTotal()), anySender);
    spool.syncs[0]?.resolve();
    expect(await verdict).toMatchObject({ accepted: 3, duplicate: 1, conflicting: 0 });
  });

  it('lets duplicates wait for the sync of the first, and fails them with it', async () => {
    const spool = new HeldSpool();
    const { ingest } = ingestOn(spool);
    const send = () => ingest.accept(totalsOf(aTotal()), anySender);
    const both = [send(), send()];
    expect(await isSettled(Promise.race(both))).toBe(false);
    spool.syncs[0]?.reject(new Error('disk gone'));
    expect((await Promise.allSettled(both)).map((each) => each.status)).toEqual(['rejected', 'rejected']);
    const again = send();
    spool.syncs[1]?.resolve();
    expect(await again).toMatchObject({ accepted: 1, duplicate: 0 });
    expect(await send()).toMatchObject({ accepted: 0, duplicate: 1 });
    expect(spool.payloads).toHaveLength(2);
  });

  it('keeps another report of an instant beside the first and names it', async () => {
    const spool = new HeldSpool();
    const { ingest } = ingestOn(spool);
    const verdict = ingest.accept(totalsOf(aTotal(), aTotal({ cpuTimeNanos: 1n }), aTotal()), anySender);
    spool.syncs[0]?.resolve();
    expect(await verdict).toMatchObject({ accepted: 1, conflicting: 1, duplicate: 1, refused: 0 });
    expect((await verdict).faults).toMatchObject([{ index: 1, fault: { kind: 'already_exists' } }]);
    expect(rowsIn(spool.payloads[0])).toHaveLength(2);
  });

  it('tells of refused readings, and of late ones that only the right to backfill let in', async () => {
    const spool = new HeldSpool();
    const { ingest, told } = ingestOn(spool);
    const lateMs = NOW_MS - 40 * DAY_MS;
    const late = aTotal({ vmId: 'old', windowEnd: timestampFromMs(lateMs) });
    expect(await ingest.accept(totalsOf(late), anySender)).toMatchObject({ accepted: 0, refused: 1 });
    expect(told.refused[0]?.windows).toMatchObject([{ metrics: late, fault: { field: 'window_end' } }]);
    const verdict = ingest.accept(totalsOf(aTotal(), late), { ...anySender, backfill: true });
    spool.syncs[0]?.resolve();
    await verdict;
    const atNanos = BigInt(lateMs) * 1_000_000n;
    expect(told.backfilled).toEqual([{ windows: 1, fromNanos: atNanos, toNanos: atNanos }]);
  });

  const touched: [string, number, number[]][] = [
    ['is an hour old', NOW_MS - HOUR_MS + 60_000, [-2, -1, 0]],
    ['has just been taken', NOW_MS - 60_000, [-2, -1, 0]],
    ['is old', NOW_MS - 20 * HOUR_MS + 60_000, [-21, -20, -19, -18]],
    ['is ahead', NOW_MS + 200_000, [-1, 0]],
  ];
  it.each(touched)('touches the hours in which its windows may lie: one that %s', async (_, atMs, hours) => {
    const spool = new HeldSpool();
    const { ingest } = ingestOn(spool);
    void ingest.accept(totalsOf(aTotal({ windowEnd: timestampFromMs(atMs) })), anySender);
    const found = decodeRecord(spool.payloads[0] ?? Buffer.alloc(0)).touched;
    expect(found).toEqual(hours.map((hour) => ['acme', NOW_MS / 1000 + hour * 3600]));
  });
});

describe('a series of samples', () => {
  const vm = { vmId: 'vm-1', customerId: 'acme', region: 'eu', counters: 'delta' } as const;

  function seriesOf(...atMs: number[]): ReportedReading[] {
    return atMs.map((ms) => ({
      parse: (sender, bounds) => parseSample(aSample({ timestamp: timestampFromMs(ms) }), vm, sender, bounds),
      shown: () => undefined,
    }));
  }

  it('is stored as it was sent, but for the one that is refused', async () => {
    const spool = new HeldSpool();
    const { ingest } = ingestOn(spool);
    const reports = seriesOf(NOW_MS - 1_000, NOW_MS, 0, NOW_MS - 2_000);
    const verdict = ingest.readings.accept({ reports, instanceId: '' }, anySender);
    spool.syncs[0]?.resolve();
    expect(await verdict).toMatchObject({ accepted: 3, refused: 1, faults: [{ index: 2 }] });
    const rows = rowsIn(spool.payloads[0]);
    const times = [NOW_MS - 1_000, NOW_MS, NOW_MS - 2_000].map((ms) => BigInt(ms) * 1_000_000n);
    expect(rows.map((row) => row.sampled_at)).toEqual(times);
    expect(rows[0]).toMatchObject({ counters: 1, boot_id: '', memory_byte_seconds: 0n, linked_to: 0n });
  });

  it('is refused where it is empty or too long', async () => {
    const { ingest } = ingestOn(new HeldSpool());
    const send = (count: number) => {
      const reports = seriesOf(...Array.from({ length: count }, (_, i) => NOW_MS - i));
      return ingest.readings.accept({ reports, instanceId: '' }, anySender);
    };
    await expect(send(0)).rejects.toMatchObject({ kind: 'invalid_argument', field: 'metrics' });
    await expect(send(11)).rejects.toThrow('11 readings in one batch, more than 10');
  });
});

describe('readings', () => {
  const anyReading = fc.record({ vm: fc.nat(2), second: fc.nat(4), cpu: fc.bigInt({ min: 0n, max: 1n }) });
  const anyStep = fc.record({
    batch: fc.array(anyReading, { minLength: 1, maxLength: 6 }),
    fate: fc.constantFrom('synced', 'synced', 'failed', 'restarted'),
  });

  it('are told apart as a plain map would, through failed syncs and restarts', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { maxLength: 20 }), async (steps) => {
        const first = new Map<string, bigint>();
        const onDisk: Buffer[] = [];
        let spool = new HeldSpool();
        let { ingest } = ingestOn(spool);
        for (const { batch, fate } of steps) {
          if (fate === 'restarted') {
            const recent = new RecentWindows(1000);
            for (const payload of onDisk) recent.warm(new ReadingWalk(rowsIn(payload)));
            spool = new HeldSpool();
            ({ ingest } = ingestOn(spool, recent));
          }
          const before = spool.payloads.length;
          const metrics = batch.map(({ vm, second, cpu }) => {
            const windowEnd = timestampFromMs(NOW_MS - second * 1000);
            return aTotal({ vmId: `vm-${vm}`, windowEnd, cpuTimeNanos: cpu });
          });
          const answer = ingest.accept(totalsOf(...metrics), anySender);
          const payload = spool.payloads[before];
          if (fate === 'failed' && payload !== undefined) {
            spool.syncs[before]?.reject(new Error('disk gone'));
            await expect(answer).rejects.toThrow('disk gone');
            continue;
          }
          spool.syncs[before]?.resolve();
          if (payload !== undefined) onDisk.push(payload);
          expect(await answer).toMatchObject(expectedOf(batch, first));
        }
        const stored = new Set(onDisk.flatMap(rowsIn).map((row) => `${row.vm_id} ${row.sampled_at}`));
        expect(stored).toEqual(new Set(first.keys()));
      }),
    );
  });

  /** What is to become of a batch, which is noted in `first`: the value that each reading was first reported with. */
  function expectedOf(batch: readonly { vm: number; second: number; cpu: bigint }[], first: Map<string, bigint>) {
    const counts = { accepted: 0, duplicate: 0, conflicting: 0, refused: 0 };
    for (const { vm, second, cpu } of batch) {
      const key = `vm-${vm} ${BigInt(NOW_MS - second * 1000) * 1_000_000n}`;
      const known = first.get(key);
      if (known === undefined) first.set(key, cpu);
      counts[known === undefined ? 'accepted' : known === cpu ? 'duplicate' : 'conflicting']++;
    }
    return counts;
  }
});
