import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { parseWindow } from '../../src/ingest/validate.ts';
import { CallerFault } from '../../src/lib/failure.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';

const DAY_MS = 86_400_000;
const bounds = {
  nowNanos: BigInt(NOW_MS) * 1_000_000n,
  lateDaysMax: 35,
  rawDays: 400,
  aheadNanosMax: 300_000_000_000n,
};
type Changes = Parameters<typeof aWindow>[0];

function faultOf(changes: Changes, sender = anySender): CallerFault {
  try {
    parseWindow(aWindow(changes), sender, bounds);
  } catch (reason) {
    if (reason instanceof CallerFault) return reason;
    throw reason;
  }
  throw new Error('the window was taken');
}

const yearOne = { seconds: -62_135_596_800n, nanos: 0 };

describe('parseWindow', () => {
  it('keeps every value of a good window', () => {
    const window = parseWindow(aWindow({ bootId: 'boot-7' }), anySender, bounds);
    expect(window).toEqual({
      customerId: 'acme',
      vmId: 'vm-1',
      region: 'us-east1',
      startNanos: BigInt(NOW_MS - 60_000) * 1_000_000n,
      endNanos: BigInt(NOW_MS) * 1_000_000n,
      sampledAtNanos: BigInt(NOW_MS) * 1_000_000n,
      cpuTimeNanos: 60_000_000_000n,
      cpuUtilizationPct: 99.5,
      cpuCoresUsed: 1,
      memoryBytesUsed: 4_000_000_000n,
      memoryBytesPeak: 4_100_000_000n,
      memoryByteSeconds: 240_000_000_000n,
      diskReadBytes: 1n,
      diskWriteBytes: 2n,
      diskReadOps: 3n,
      diskWriteOps: 4n,
      networkRxBytes: 5n,
      networkTxBytes: 6n,
      bootId: 'boot-7',
    });
  });

  const tooLong = 'x'.repeat(129);
  const table: [string, Changes, string, string, RegExp][] = [
    ['an empty VM id', { vmId: '' }, 'invalid_argument', 'vm_id', /vm_id is empty/],
    ['an empty customer id', { customerId: '' }, 'invalid_argument', 'customer_id', /customer_id is empty/],
    ['an empty region', { region: '' }, 'invalid_argument', 'region', /region is empty/],
    ['an id too long', { vmId: tooLong }, 'invalid_argument', 'vm_id', /129 bytes long, more than 128/],
    ['an id with a NUL', { vmId: 'a\0b' }, 'invalid_argument', 'vm_id', /control character at 1/],
    [
      'the customer of none',
      { customerId: 'default-customer' },
      'invalid_argument',
      'customer_id',
      /"default-customer"/,
    ],
    ['no start', { windowStart: undefined }, 'invalid_argument', 'window_start', /window_start is missing/],
    ['no end', { windowEnd: undefined }, 'invalid_argument', 'window_end', /window_end is missing/],
    ['a start in year 1', { windowStart: yearOne }, 'invalid_argument', 'window_start', /0001-01-01.*before 2000/],
    ['a sampling time in year 1', { timestamp: yearOne }, 'invalid_argument', 'timestamp', /before 2000-01-01/],
    [
      'bad nanos',
      { windowEnd: { seconds: 1n, nanos: -1 } },
      'invalid_argument',
      'window_end',
      /nanos: -1 is not within/,
    ],
    [
      'a sampling time past 64-bit nanoseconds',
      { timestamp: { seconds: 253_402_300_799n, nanos: 0 } },
      'invalid_argument',
      'timestamp',
      /after 2200/,
    ],
    [
      'an end before its start',
      { windowEnd: timestampFromMs(NOW_MS - 61_000) },
      'invalid_argument',
      'window_end',
      /2026-06-10T11:58:59.000Z is not after window_start 2026-06-10T11:59:00.000Z/,
    ],
    [
      'an end at its start',
      { windowEnd: timestampFromMs(NOW_MS - 60_000) },
      'invalid_argument',
      'window_end',
      /not after window_start/,
    ],
    [
      'a window over an hour',
      { windowStart: timestampFromMs(NOW_MS - 3_600_001) },
      'invalid_argument',
      'window_end',
      /lasts 3600 s, more than 3600 s/,
    ],
    [
      'a window ahead of the clock',
      { windowEnd: timestampFromMs(NOW_MS + 300_001) },
      'out_of_range',
      'window_end',
      /more than 300 s ahead/,
    ],
    ['a gauge that is no number', { cpuCoresUsed: Number.NaN }, 'invalid_argument', 'cpu_cores_used', /NaN/],
    ['a gauge below zero', { cpuUtilizationPct: -1 }, 'invalid_argument', 'cpu_utilization_pct', /-1/],
  ];
  it.each(table)('refuses %s', (_, changes, kind, field, message) => {
    const fault = faultOf(changes);
    expect(fault).toMatchObject({ kind, field });
    expect(fault.message).toMatch(message);
  });

  const late = {
    windowStart: timestampFromMs(NOW_MS - 35 * DAY_MS - 60_001),
    windowEnd: timestampFromMs(NOW_MS - 35 * DAY_MS - 1),
  };
  it('refuses a window over 35 days late, and takes it with the right to backfill', () => {
    expect(faultOf(late)).toMatchObject({ kind: 'out_of_range', field: 'window_end' });
    expect(parseWindow(aWindow(late), { ...anySender, backfill: true }, bounds).vmId).toBe('vm-1');
  });

  it('refuses a window so old that those around it are removed, whatever the right to backfill', () => {
    const sender = { ...anySender, backfill: true };
    const endMs = NOW_MS - 400 * DAY_MS + 2 * 3_600_000;
    const ending = (at: number) => ({ windowStart: timestampFromMs(at - 60_000), windowEnd: timestampFromMs(at) });
    const fault = faultOf(ending(endMs - 1), sender);
    expect(fault).toMatchObject({ kind: 'out_of_range', field: 'window_end' });
    expect(fault.message).toBe(
      'window_end: 2025-05-06T13:59:59.999Z is before 2025-05-06T14:00:00.000Z: windows are kept for 400 days, and its hour could not be computed from all of them',
    );
    expect(parseWindow(aWindow(ending(endMs)), sender, bounds).vmId).toBe('vm-1');
  });

  it('takes a window of exactly 35 days ago, an hour long, or 5 minutes ahead', () => {
    const end = NOW_MS - 35 * DAY_MS;
    const atBounds = [
      { windowStart: timestampFromMs(end - 60_000), windowEnd: timestampFromMs(end) },
      { windowStart: timestampFromMs(NOW_MS - 3_600_000) },
      { windowEnd: timestampFromMs(NOW_MS + 300_000) },
    ];
    for (const changes of atBounds) expect(parseWindow(aWindow(changes), anySender, bounds).vmId).toBe('vm-1');
  });

  it('refuses regions and customers that the key does not report for', () => {
    const sender = { ...anySender, regions: new Set(['eu-west1']), customerIds: new Set(['other']) };
    expect(faultOf({}, sender)).toMatchObject({ kind: 'permission_denied', field: 'region' });
    expect(faultOf({ region: 'eu-west1' }, sender)).toMatchObject({ kind: 'permission_denied', field: 'customer_id' });
    const allowed = aWindow({ region: 'eu-west1', customerId: 'other' });
    expect(parseWindow(allowed, sender, bounds).customerId).toBe('other');
  });
});
