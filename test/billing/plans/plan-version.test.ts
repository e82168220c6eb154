import { describe, expect, it } from 'vitest';
import { parseRates, samePrices, showPrices, toRates } from '../../../src/billing/plans/plan-version.ts';

const RATES = { cpuPerCoreHour: 0.1, memoryPerGbHour: 0.02, diskIoPerGb: 0, networkPerGb: 1e-7 };

describe('rates', () => {
  it('are read as their shortest decimals', () => {
    expect(showPrices(parseRates(RATES))).toEqual({ cpu: '0.1', memory: '0.02', disk_io: '0', network: '0.0000001' });
  });

  it('go back to the doubles they came from', () => {
    expect(toRates(parseRates(RATES))).toEqual(RATES);
  });

  it.each([
    [-1, 'is not a number of at least 0'],
    [Number.NaN, 'is not a number of at least 0'],
    [Number.POSITIVE_INFINITY, 'is not a number of at least 0'],
    [1_000_000_000_001, 'is more than 1000000000000'],
    [1e-19, 'has 19 digits behind the point, more than 18'],
  ])('refuse %d, naming the field', (value, why) => {
    const message = `rates.disk_io_per_gb: ${value} ${why}`;
    expect(() => parseRates({ ...RATES, diskIoPerGb: value })).toThrow(message);
  });

  it('are the same by value', () => {
    expect(samePrices(parseRates(RATES), parseRates({ ...RATES }))).toBe(true);
    expect(samePrices(parseRates(RATES), parseRates({ ...RATES, networkPerGb: 2e-7 }))).toBe(false);
  });
});
