import { describe, expect, it } from 'vitest';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { parseSample, parseTotals, type Reading, sampleRow } from '../../src/ingest/reading.ts';
import { ReadingWalk } from '../../src/ingest/reading-walk.ts';
import { RecentWindows } from '../../src/ingest/dedup.ts';
import { RowBatch } from '../../src/ingest/row-batch.ts';
import { parseWindow } from '../../src/ingest/validate.ts';
import type { Sender } from '../../src/ingest/window.ts';
import { CallerFault } from '../../src/lib/failure.ts';
import { aReading, aSample } from './a-reading.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';

const DAY_MS = 86_400_000;
const bounds = {
  nowNanos: BigInt(NOW_MS) * 1_000_000n,
  lateDaysMax: 35,
  rawDays: 400,
  aheadNanosMax: 300_000_000_000n,
};
const provenance = { credentialId: 'k', instanceId: 'i', receivedAtNanos: 1_000n };
const VM = { vmId: 'vm-1', customerId: 'acme', region: 'us-east1', counters: 'delta' } as const;
const yearOne = { $typeName: 'google.protobuf.Timestamp', seconds: -62_135_596_800n, nanos: 0 } as const;

function faultOf(parse: () => unknown): CallerFault {
  try {
    parse();
  } catch (reason) {
    if (reason instanceof CallerFault) return reason;
    throw reason;
  }
  throw new Error('it was taken');
}

describe('a window of totals', () => {
  it('is the reading at its end, with its memory as a total too', () => {
    const metrics = aWindow({ bootId: 'boot-1' });
    expect(parseTotals(metrics, anySender, bounds)).toEqual(aReading());
    expect(sampleRow(aReading(), provenance)).toMatchObject({
      counters: 2,
      linked_to: 0n,
      memory_byte_seconds: 240_000_000_000n,
      precedence: 2n ** 63n - 1n - 1_000n,
    });
  });

  const scoped: Sender = { ...anySender, regions: new Set(['eu']), customerIds: new Set(['acme']) };
  const wrong: [string, Parameters<typeof aWindow>[0], Sender, string, string][] = [
    ['no boot', { bootId: '' }, anySender, 'invalid_argument', 'boot_id'],
    ['no customer', { customerId: 'default-customer' }, anySender, 'invalid_argument', 'customer_id'],
    ['no VM', { vmId: '' }, anySender, 'invalid_argument', 'vm_id'],
    ['a clock that was never set', { windowEnd: yearOne }, anySender, 'invalid_argument', 'window_end'],
    [
      'a reading too late',
      { windowEnd: timestampFromMs(NOW_MS - 36 * DAY_MS) },
      anySender,
      'out_of_range',
      'window_end',
    ],
    ['a reading ahead', { windowEnd: timestampFromMs(NOW_MS + 300_001) }, anySender, 'out_of_range', 'window_end'],
    ['a region that is not its', {}, scoped, 'permission_denied', 'region'],
    ['a customer that is not its', { region: 'eu', customerId: 'b' }, scoped, 'permission_denied', 'customer_id'],
  ];
  it.each(wrong)('is refused with %s', (_, changes, sender, kind, field) => {
    const metrics = aWindow({ bootId: 'boot-1', ...changes });
    expect(faultOf(() => parseTotals(metrics, sender, bounds))).toMatchObject({ kind, field });
  });

  it('is taken late with the right to backfill', () => {
    const windowEnd = timestampFromMs(NOW_MS - 36 * DAY_MS);
    const metrics = aWindow({ bootId: 'b', windowEnd });
    expect(parseTotals(metrics, { ...anySender, backfill: true }, bounds).bootId).toBe('b');
  });
});

describe('a sample', () => {
  it('is kept as it was sent', () => {
    expect(parseSample(aSample(), VM, anySender, bounds)).toEqual({
      ...aReading({ bootId: '', counters: 'delta', memoryByteSeconds: 0n, diskReadOps: 0n, diskWriteOps: 0n }),
    });
  });

  const wrong: [string, Parameters<typeof aSample>[0], Partial<typeof VM>, string, RegExp][] = [
    [
      'a timestamp that was never set',
      { timestamp: yearOne },
      {},
      'timestamp',
      /0001-01-01T00:00:00.000Z is before 2000/,
    ],
    ['a counter below zero', { networkTxBytes: -1n }, {}, 'network_tx_bytes', /network_tx_bytes: -1 is below 0/],
    ['memory below zero', { memoryUsageBytes: -(2n ** 63n) }, {}, 'memory_usage_bytes', /is below 0/],
  ];
  it.each(wrong)('is refused with %s', (_, changes, vm, field, message) => {
    const fault = faultOf(() => parseSample(aSample(changes), { ...VM, ...vm }, anySender, bounds));
    expect(fault).toMatchObject({ kind: 'invalid_argument', field });
    expect(fault.message).toMatch(message);
  });

  it('of a customer or a region that its key is not for is refused', () => {
    const scopes: Partial<Sender>[] = [{ regions: new Set(['eu']) }, { customerIds: new Set(['other']) }];
    const faults = scopes.map((scope) => faultOf(() => parseSample(aSample(), VM, { ...anySender, ...scope }, bounds)));
    expect(faults.map(({ kind, field }) => [kind, field])).toEqual([
      ['permission_denied', 'region'],
      ['permission_denied', 'customer_id'],
    ]);
  });

  it('of no customer, or without a time, is refused', () => {
    const of = (customerId: string) => faultOf(() => parseSample(aSample(), { ...VM, customerId }, anySender, bounds));
    expect([of('').message, of('default-customer').message]).toEqual([
      'customer_id is empty',
      'customer_id: "default-customer" stands for no customer',
    ]);
    const { timestamp, ...timeless } = aSample();
    expect(timestamp).toBeDefined();
    expect(faultOf(() => parseSample(timeless, VM, anySender, bounds))).toMatchObject({ field: 'timestamp' });
  });
});

describe('the hash of a reading', () => {
  const hash = (changes: Partial<Reading> = {}) => sampleRow(aReading(changes), provenance).value_hash;

  it('covers all that was sent but its key, and is as it always was: stored rows depend on it', () => {
    const changes: Partial<Reading>[] = [
      { region: 'eu' },
      { bootId: 'boot-2' },
      { counters: 'delta' },
      { cpuTimeNanos: 1n },
      { memoryBytesUsed: 1n },
      { memoryByteSeconds: 1n },
      { diskReadBytes: 9n },
      { diskWriteBytes: 9n },
      { diskReadOps: 9n },
      { diskWriteOps: 9n },
      { networkRxBytes: 9n },
      { networkTxBytes: 2n ** 63n },
    ];
    expect(new Set([hash(), ...changes.map(hash)]).size).toBe(changes.length + 1);
    expect(hash({ vmId: 'x', customerId: 'y', sampledAtNanos: 1n })).toBe(hash());
    expect(hash()).toBe(9_965_650_539_195_737_272n);
  });
});

describe('a reading', () => {
  it('is never taken for a window of the same VM', () => {
    const recent = new RecentWindows(1000);
    const window = parseWindow(aWindow({ customerId: 'a', vmId: 'b' }), anySender, bounds);
    const rows = new RowBatch(1, { ...provenance, sequence: 0n });
    rows.addWindow(window);
    const { customerId, vmId, startNanos: sampledAtNanos } = window;
    const reading = new ReadingWalk([sampleRow(aReading({ customerId, vmId, sampledAtNanos }), provenance)]);
    reading.next();
    expect([recent.take(rows.head, 0), recent.take(reading, 0)]).toEqual(['new', 'new']);
    expect([recent.take(rows.head, 0), recent.take(reading, 0)]).toEqual(['duplicate', 'duplicate']);
    expect(reading.next()).toBe(false);
  });
});
