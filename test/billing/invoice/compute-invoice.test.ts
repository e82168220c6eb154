import { describe, expect, it } from 'vitest';
import { computeInvoice, hashLines, type MeasuredSpan } from '../../../src/billing/invoice/compute-invoice.ts';
import { parseRates } from '../../../src/billing/plans/plan-version.ts';
import type { RegionUsage } from '../../../src/billing/rating/meters.ts';
import { CORE_HOUR_NANOS, RATES } from '../a-store.ts';

function used(region: string, cpuTimeNanos: bigint): RegionUsage {
  const none = { memoryByteSeconds: 0n, diskReadBytes: 0n, diskWriteBytes: 0n, networkRxBytes: 0n, networkTxBytes: 0n };
  return { region, cpuTimeNanos, observedNanos: cpuTimeNanos, ...none };
}

function span(from: string, until: string, version: number, usage: RegionUsage[]): MeasuredSpan {
  const prices = parseRates({ ...RATES, cpuPerCoreHour: version });
  const plan = { planId: 'basic', version, currency: 'USD', prices, validFrom: new Date(from) };
  return { start: new Date(from), end: new Date(until), plan, usage };
}

const FIRST = span('2026-09-01T00:00Z', '2026-09-10T00:00Z', 1, [
  used('eu', CORE_HOUR_NANOS),
  used('us', CORE_HOUR_NANOS),
]);
const SECOND = span('2026-09-10T00:00Z', '2026-10-01T00:00Z', 2, [used('eu', CORE_HOUR_NANOS / 2n)]);

describe('an invoice', () => {
  it('has the lines of each span, and their sum', () => {
    const { lines, total } = computeInvoice([FIRST, SECOND], 'USD');
    expect(lines).toMatchObject([
      {
        meter: 'cpu',
        quantity: '2',
        unitPrice: '1',
        amount: '2.00',
        planVersion: 1,
        start: FIRST.start,
        end: FIRST.end,
      },
      {
        meter: 'cpu',
        quantity: '0.5',
        unitPrice: '2',
        amount: '1.00',
        planVersion: 2,
        start: SECOND.start,
        end: SECOND.end,
      },
    ]);
    expect(total).toBe('3.00');
  });

  it('is the same to the last bit for the same input in another order', () => {
    const turned = { ...FIRST, usage: FIRST.usage.toReversed() };
    expect(computeInvoice([turned, SECOND], 'USD')).toEqual(computeInvoice([FIRST, SECOND], 'USD'));
  });

  it('has another input hash for other input, though the lines may be the same', () => {
    const { inputHash, linesHash } = computeInvoice([FIRST, SECOND], 'USD');
    const observedMore = { ...SECOND, usage: SECOND.usage.map((each) => ({ ...each, observedNanos: 1n })) };
    const other = computeInvoice([FIRST, observedMore], 'USD');
    expect(other.linesHash.equals(linesHash)).toBe(true);
    expect(other.inputHash.equals(inputHash)).toBe(false);
  });

  it('has another hash of its lines for any other line', () => {
    const { lines, linesHash } = computeInvoice([FIRST, SECOND], 'USD');
    expect(hashLines(lines).equals(linesHash)).toBe(true);
    const changes = [
      { meter: 'x' },
      { description: 'x' },
      { quantity: '9' },
      { unit: 'x' },
      { unitPrice: '9' },
      { amount: '9' },
      { start: new Date(0) },
      { end: new Date(0) },
      { planId: 'x' },
      { planVersion: 9 },
      { regions: [] },
    ];
    for (const change of changes) {
      const changed = lines.map((line, index) => (index === 0 ? { ...line, ...change } : line));
      expect(hashLines(changed).equals(linesHash), JSON.stringify(change)).toBe(false);
    }
    expect(hashLines(lines.toReversed()).equals(linesHash)).toBe(false);
  });
});
