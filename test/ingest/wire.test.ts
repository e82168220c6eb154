import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BillingMetrics, BillingMetricsSchema, CounterTemporality } from '../../gen/billing/v1/metrics_pb.ts';
import { type Batch, Ingest } from '../../src/ingest/accept-batch.ts';
import type { Verdict } from '../../src/ingest/intake.ts';
import { RecentWindows } from '../../src/ingest/dedup.ts';
import { decodeRecord } from '../../src/ingest/record.ts';
import { RowBatch } from '../../src/ingest/row-batch.ts';
import { SenderScope } from '../../src/ingest/sender-scope.ts';
import type { TimeBounds } from '../../src/ingest/validate.ts';
import type { Sender } from '../../src/ingest/window.ts';
import { splitBatch, type WireBatch } from '../../src/ingest/wire-batch.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';

/** What a batch comes to: the verdict, and the rows and hours that would be stored. */
async function outcomeOf(metrics: Batch['metrics'], sender: Sender): Promise<object> {
  const stored: Buffer[] = [];
  const ingest = new Ingest({
    clock: { nowMs: () => NOW_MS, nowNanos: () => BigInt(NOW_MS) * 1_000_000n },
    spool: { append: async (payload) => void stored.push(Buffer.concat(payload)) },
    recent: new RecentWindows(1000),
    batchWindowsMax: 1000,
    lateDaysMax: 35,
    rawDays: 400,
    aheadSecondsMax: 300,
    onAccepted: () => undefined,
    onVerdict: () => undefined,
    onBackfilled: () => undefined,
    onRefused: () => undefined,
  });
  const batch = { metrics, instanceId: 'i', sequence: 1n, counterTemporality: CounterTemporality.DELTA };
  const { faults, ...counts }: Verdict = await ingest.accept(batch, sender);
  const shown = faults.map(({ index, fault }) => [index, fault.kind, fault.field, fault.message]);
  const records = stored.map((payload) => decodeRecord(payload));
  return { counts, shown, records: records.map(({ rows, touched }) => [rows.toString('hex'), touched]) };
}

/** The windows as they lie in the message of one call. */
function wireBatch(...wires: Uint8Array[]): WireBatch {
  return splitBatch(Buffer.concat(wires.map((wire) => Buffer.from([0x0a, ...varint(BigInt(wire.length)), ...wire]))))
    .windows;
}

/** The ordinary way with the same windows: decoded first, and refused in the same words where that fails. */
async function ordinaryOutcomeOf(wires: Uint8Array[], sender: Sender): Promise<object> {
  return outcomeOf(
    wires.map((wire) => fromBinary(BillingMetricsSchema, wire)),
    sender,
  );
}

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}

const minute = BigInt(NOW_MS / 1000) - 60n;
const uint64 = fc.oneof(
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  fc.constantFrom(0n, 127n, 128n, (1n << 32n) - 1n, 1n << 32n, (1n << 63n) - 1n, 1n << 63n, (1n << 64n) - 1n),
);
const text = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom('acme', 'vm-1', 'vm-2', 'us-east1', 'default-customer', 'sixteen-letters-') },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 140 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme-ascii', minLength: 120, maxLength: 140 }) },
);
const gauge = fc.oneof(fc.double(), fc.constantFrom(0, -0, 1, 99.5, Number.NaN, Number.POSITIVE_INFINITY, -1));
const seconds = fc.oneof(
  { weight: 8, arbitrary: fc.bigInt({ min: minute - 4000n, max: minute + 400n }) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(minute, minute - 35n * 86_400n, minute + 360n, 946_684_800n, 7_258_118_400n),
  },
  { weight: 1, arbitrary: fc.bigInt({ min: -(1n << 62n), max: 1n << 62n }) },
);
const time = fc.record({ seconds, nanos: fc.constantFrom(0, 1, 500, 999_999_999) });
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 15 });

const window = fc
  .record({
    vmId: text,
    customerId: text,
    region: text,
    timestamp: maybe(time),
    windowStart: maybe(time),
    length: fc.constantFrom(0n, 1n, 30n, 60n, 3599n, 3600n, 3601n, -60n),
    endNanos: fc.constantFrom(0, 1, 999_999_999),
    cpuTimeNanos: uint64,
    cpuUtilizationPct: gauge,
    cpuCoresUsed: gauge,
    memoryBytesSeconds: uint64,
    diskWriteOps: uint64,
    networkTxBytes: uint64,
    bootId: fc.oneof(fc.constant(''), text),
  })
  .map(({ length, endNanos, ...fields }) => {
    const start = fields.windowStart;
    const windowEnd = start === undefined ? undefined : { seconds: start.seconds + length, nanos: endNanos };
    return create(BillingMetricsSchema, { ...fields, windowEnd });
  })
  .filter((message) =>
    isEncodable(message.windowStart?.seconds, message.windowEnd?.seconds, message.timestamp?.seconds),
  );

function isEncodable(...values: (bigint | undefined)[]): boolean {
  return values.every((value) => value === undefined || BigInt.asIntN(64, value) === value);
}

/** What may stand between the fields of a good window: unknown fields of each wire type, and fields given again. */
const extra = fc.constantFrom<number[]>(
  [...varint((30n << 3n) | 0n), 5],
  [...varint((30n << 3n) | 1n), 1, 2, 3, 4, 5, 6, 7, 8],
  [...varint((30n << 3n) | 2n), 3, 1, 2, 3],
  [...varint((30n << 3n) | 5n), 1, 2, 3, 4],
  [...varint((5000n << 3n) | 0n), 1],
  [...varint((30n << 3n) | 3n), 0x08, 1, ...varint((30n << 3n) | 4n)],
  [0x38, ...varint((1n << 64n) - 1n)],
  [0x38, 0x80, 0x80, 0x00],
  [0x38, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0x7f],
  [0x38, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
  [0x12, 4, 0x61, 0x63, 0x6d, 0x65],
  [0x2a, 0],
  [0x2a, 2, 0x10, 5],
  [0x1a, 2, 0x75, 0x73],
  [0xa2, 0x01, 1, 0x62],
  [0x41, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f],
  [0x40, 1],
  [0x39, 0, 0, 0, 0, 0, 0, 0, 0],
);
const wire = fc.tuple(window, fc.array(extra, { maxLength: 3 }), fc.boolean()).map(([message, extras, isBefore]) => {
  const bytes = [...toBinary(BillingMetricsSchema, message)];
  const more = extras.flat();
  return new Uint8Array(isBefore ? [...more, ...bytes] : [...bytes, ...more]);
});
const sender = fc.constantFrom<Sender>(
  anySender,
  { ...anySender, backfill: true },
  { ...anySender, regions: new Set(['us-east1']), customerIds: new Set(['acme', 'vm-1']) },
);

describe('windows from the wire', () => {
  it('come to the same rows, verdicts and messages as decoded ones', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(wire, { minLength: 1, maxLength: 12 }), sender, async (wires, from) => {
        const decodable = wires.filter(isDecodable);
        fc.pre(decodable.length > 0);
        expect(await outcomeOf(wireBatch(...decodable), from)).toEqual(await ordinaryOutcomeOf(decodable, from));
      }),
      { numRuns: 3000 },
    );
  });

  it('are each held against what their sender may report, whatever came before', async () => {
    const from = { ...anySender, regions: new Set(['us-east1']), customerIds: new Set(['acme', 'vm-1']) };
    const ids = fc.record({
      customerId: fc.constantFrom('acme', 'vm-1', 'other'),
      region: fc.constantFrom('us-east1', 'eu-west1'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(ids, { minLength: 2, maxLength: 6 }), async (each) => {
        const windows = each.map((one, index) => aWindow({ ...one, vmId: `vm-${index}` }));
        const wires = windows.map((one) => toBinary(BillingMetricsSchema, one));
        const allowed = each.filter(({ customerId, region }) => customerId !== 'other' && region === 'us-east1').length;
        const outcome = await outcomeOf(wireBatch(...wires), from);
        expect(outcome).toMatchObject({ counts: { accepted: allowed, refused: each.length - allowed } });
        expect(outcome).toEqual(await ordinaryOutcomeOf(wires, from));
      }),
      { numRuns: 200 },
    );
  });

  it('are refused one by one where they are cut off or garbled, whatever the bytes', async () => {
    const garbled = fc.tuple(wire, fc.nat(), fc.nat(255)).map(([bytes, at, byte]) => {
      const changed = bytes.slice();
      changed[at % changed.length] = byte;
      return byte % 3 === 0 ? changed.subarray(0, at % changed.length) : changed;
    });
    await fc.assert(
      fc.asyncProperty(garbled, async (bytes) => {
        const good = toBinary(BillingMetricsSchema, aWindow({ vmId: 'good' }));
        const outcome = await outcomeOf(wireBatch(bytes, good), anySender);
        if (isDecodable(bytes)) expect(outcome).toEqual(await ordinaryOutcomeOf([bytes, good], anySender));
        else {
          const fault = [0, 'invalid_argument', '', expect.stringMatching(/^it is not a billing.v1.BillingMetrics: /)];
          expect(outcome).toMatchObject({ counts: { accepted: 1, refused: 1 }, shown: [fault] });
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('do not need the ordinary way where hosts send what they normally do', () => {
    const bounds = {
      nowNanos: BigInt(NOW_MS) * 1_000_000n,
      lateDaysMax: 35,
      rawDays: 400,
      aheadNanosMax: 300_000_000_000n,
    };
    const from = { ...anySender, regions: new Set(['us-east1']) };
    for (const each of [aWindow(), aWindow({ bootId: 'b' }), aWindow({ timestamp: undefined, cpuTimeNanos: 0n })]) {
      expect(isBeyondDoubt(each, from, bounds)).toBe(true);
    }
  });

  it('are not taken for a moment that their nanoseconds come to where 64 bits are too few', () => {
    // 2^64 ns are 18,446,744,073.709551616 s: such a start and its end a minute ago are the same modulo 2^64, but for a minute.
    const start = { seconds: minute + 18_446_744_073n, nanos: 709_551_616 };
    const bounds = { nowNanos: BigInt(NOW_MS) * 1_000_000n, lateDaysMax: 35, rawDays: 400, aheadNanosMax: 0n };
    const odd = aWindow({ windowStart: start, windowEnd: { seconds: minute + 30n, nanos: 0 } });
    expect(isBeyondDoubt(odd, anySender, bounds)).toBe(false);
  });

  it('go the ordinary way where they are late, whatever their sender may do', () => {
    const bounds = { nowNanos: BigInt(NOW_MS) * 1_000_000n, lateDaysMax: 35, rawDays: 400, aheadNanosMax: 0n };
    const daysAgo = (days: number) => {
      const endMs = NOW_MS - days * 86_400_000;
      return aWindow({ windowStart: timestampFromMs(endMs - 60_000), windowEnd: timestampFromMs(endMs) });
    };
    for (const from of [anySender, { ...anySender, backfill: true }]) {
      expect(isBeyondDoubt(daysAgo(34), from, bounds)).toBe(true);
      expect(isBeyondDoubt(daysAgo(36), from, bounds)).toBe(false);
    }
  });

  it('are not decoded where they have more than 65,536 bytes', async () => {
    const odd = toBinary(BillingMetricsSchema, aWindow({ vmId: 'straße' }));
    const filler = Buffer.concat([
      Buffer.from([...varint((30n << 3n) | 2n), ...varint(65_536n)]),
      Buffer.alloc(65_536),
    ]);
    const fault = [0, 'invalid_argument', '', expect.stringMatching(/^it has \d+ bytes, more than 65536$/)];
    expect(await outcomeOf(wireBatch(Buffer.concat([odd, filler])), anySender)).toMatchObject({ shown: [fault] });
    expect(await outcomeOf(wireBatch(odd), anySender)).toMatchObject({ counts: { accepted: 1 } });
  });

  it('go the ordinary way where they are so old that windows of then may be removed', () => {
    const bounds = { nowNanos: BigInt(NOW_MS) * 1_000_000n, lateDaysMax: 35, aheadNanosMax: 0n };
    const endMs = NOW_MS - 35 * 86_400_000 + 3_600_000;
    const times = { windowStart: timestampFromMs(endMs - 60_000), windowEnd: timestampFromMs(endMs) };
    expect(isBeyondDoubt(aWindow(times), anySender, { ...bounds, rawDays: 36 })).toBe(true);
    expect(isBeyondDoubt(aWindow(times), anySender, { ...bounds, rawDays: 35 })).toBe(false);
  });
});

function isBeyondDoubt(metrics: BillingMetrics, from: Sender, bounds: TimeBounds): boolean {
  const bytes = toBinary(BillingMetricsSchema, metrics);
  const scope = new SenderScope(from, bounds);
  const provenance = { credentialId: 'k', instanceId: 'i', sequence: 0n, receivedAtNanos: 1n };
  const rows = new RowBatch(1, provenance, { bytes, scope });
  return rows.addWire(0, bytes.length) && scope.allows(rows.head);
}

function isDecodable(bytes: Uint8Array): boolean {
  try {
    fromBinary(BillingMetricsSchema, bytes);
    return true;
  } catch {
    return false;
  }
}
