import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addDecimals, compareDecimals, decimalOfDouble, formatDecimal, ZERO } from '../../../src/billing/money.ts';
import { inPricedUnits, METERS, type RegionUsage } from '../../../src/billing/rating/meters.ts';
import { rate, type RatedLine, totalOf, type UnitPrices } from '../../../src/billing/rating/rate.ts';

const PRICES = prices(0.05, 0.02, 0.01, 0.01);

describe('the worked example', () => {
  // A month of 30 days, each window one minute: a core fully used, 4 GB of memory, 1 MB each way on disk and network.
  // Two VMs run all month in region A; a third runs from day 13 in region B.
  const usage = [ofWindows('b', 18n * 1440n), ofWindows('a', 2n * 30n * 1440n)];

  it('comes to 247.86 USD', () => {
    const lines = rate(usage, PRICES, 'USD');
    expect(lines.map(shown)).toEqual([
      ['CPU', '1872', 'core-hour', '0.05', '93.60'],
      ['Memory', '7488', 'GB-hour', '0.02', '149.76'],
      ['Disk I/O', '224.64', 'GB', '0.01', '2.25'],
      ['Network', '224.64', 'GB', '0.01', '2.25'],
    ]);
    expect(formatDecimal(totalOf(lines))).toBe('247.86');
  });

  it('shows each region, in order', () => {
    const regions = rate(usage, PRICES, 'USD').map((line) => line.regions.map(regionShown));
    expect(regions).toEqual([
      ['a 1440', 'b 432'],
      ['a 5760', 'b 1728'],
      ['a 172.8', 'b 51.84'],
      ['a 172.8', 'b 51.84'],
    ]);
  });
});

describe('a line', () => {
  it('is left out where nothing was used, and free where the price is 0', () => {
    const lines = rate([usageOf({ cpuTimeNanos: 3_600_000_000_000n })], prices(0, 1, 1, 1), 'USD');
    expect(lines.map(shown)).toEqual([['CPU', '1', 'core-hour', '0', '0.00']]);
    expect(rate([usageOf({ observedNanos: 1n })], PRICES, 'USD')).toEqual([]);
    expect(formatDecimal(totalOf([]))).toBe('0');
  });

  it('is rounded once, from the exact quantity, half to even', () => {
    // 0.5 GB and 1.5 GB at 0.01: half a cent, and one and a half.
    const amounts = [500_000_000n, 1_500_000_000n, 500_000_001n].map((networkRxBytes) => {
      return rate([usageOf({ networkRxBytes })], PRICES, 'USD').map((line) => formatDecimal(line.amount));
    });
    expect(amounts).toEqual([['0.00'], ['0.02'], ['0.01']]);
    // Ten regions of half a cent each: five cents, where rounding region by region would give none.
    const regions = Array.from({ length: 10 }, (_, i) => usageOf({ region: `r${i}`, networkTxBytes: 500_000_000n }));
    expect(rate(regions, PRICES, 'USD').map((line) => formatDecimal(line.amount))).toEqual(['0.05']);
  });

  it.each([
    ['JPY', '3'],
    ['USD', '3.33'],
    ['KWD', '3.333'],
    ['CLF', '3.3333'],
  ])('in %s has the digits of its minor unit', (currency, amount) => {
    const third = usageOf({ cpuTimeNanos: 1_200_000_000_000n });
    expect(rate([third], prices(10, 0, 0, 0), currency).map((line) => formatDecimal(line.amount))).toEqual([amount]);
  });

  it('shows a quantity that does not end with 38 digits, and regions that add up to it', () => {
    const usage = [
      usageOf({ region: 'a', cpuTimeNanos: 1n }),
      usageOf({ region: 'b', cpuTimeNanos: 3_599_999_999_998n }),
    ];
    const [line] = rate(usage, PRICES, 'USD');
    expect(formatDecimal(line?.quantity ?? ZERO)).toBe(`0.${'9'.repeat(12)}7${'2'.repeat(25)}`);
    expect(sumOfRegions(line)).toBe(true);
  });

  it('refuses an unknown currency, and usage below zero', () => {
    expect(() => rate([usageOf({})], PRICES, 'XXX')).toThrow('currency: "XXX"');
    expect(() => rate([usageOf({ diskReadBytes: -1n })], PRICES, 'USD')).toThrow(
      'disk_io in region "r": -1 is below 0',
    );
  });
});

describe('for any usage', () => {
  const amounts = fc.bigInt({ min: 0n, max: 10n ** 30n });
  const usages = fc.array(
    fc.record({
      region: fc.constantFrom('a', 'b', 'c'),
      cpuTimeNanos: amounts,
      memoryByteSeconds: amounts,
      diskReadBytes: amounts,
      diskWriteBytes: amounts,
      networkRxBytes: amounts,
      networkTxBytes: amounts,
      observedNanos: amounts,
    }),
    { maxLength: 6 },
  );
  const cents = fc.integer({ min: 0, max: 10_000 }).map((each) => each / 1000);
  const anyPrices = fc.tuple(cents, cents, cents, cents).map((each) => prices(...each));

  it('regions add up to their line, and the order of input changes nothing', () => {
    fc.assert(
      fc.property(usages, anyPrices, (usage, unitPrices) => {
        const lines = rate(usage, unitPrices, 'USD');
        expect(lines.every(sumOfRegions)).toBe(true);
        expect(rate(usage.toReversed(), unitPrices, 'USD')).toEqual(lines);
      }),
    );
  });

  it('amounts are the exact product, off by at most half a cent', () => {
    fc.assert(
      fc.property(usages, anyPrices, (usage, unitPrices) => {
        for (const line of rate(usage, unitPrices, 'USD')) {
          const measured = usage.reduce((sum, each) => sum + line.meter.measured(each), 0n);
          const { numerator, denominator } = inPricedUnits(line.meter, measured);
          // amount/100 against numerator/denominator × price, all over one denominator.
          const exact = numerator * line.unitPrice.units * 200n;
          const over = denominator * 10n ** BigInt(line.unitPrice.scale);
          const off = exact - 2n * line.amount.units * over;
          expect(off <= over && -off <= over).toBe(true);
        }
      }),
    );
  });

  it('using more never costs less', () => {
    fc.assert(
      fc.property(usages, anyPrices, amounts, (usage, unitPrices, more) => {
        const before = totalOf(rate(usage, unitPrices, 'USD'));
        const after = totalOf(rate([...usage, usageOf({ networkRxBytes: more })], unitPrices, 'USD'));
        expect(compareDecimals(after, before)).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it('every meter counts what its name says', () => {
    const usage = usageOf({
      cpuTimeNanos: 1n,
      memoryByteSeconds: 2n,
      diskReadBytes: 4n,
      diskWriteBytes: 8n,
      networkRxBytes: 16n,
    });
    expect(METERS.map((meter) => meter.measured({ ...usage, networkTxBytes: 32n }))).toEqual([1n, 2n, 12n, 48n]);
  });
});

function prices(cpu: number, memory: number, diskIo: number, network: number): UnitPrices {
  const [cpuPrice, memoryPrice, diskIoPrice, networkPrice] = [cpu, memory, diskIo, network].map((price) => {
    return decimalOfDouble(price, 'price');
  });
  return {
    cpu: cpuPrice ?? ZERO,
    memory: memoryPrice ?? ZERO,
    disk_io: diskIoPrice ?? ZERO,
    network: networkPrice ?? ZERO,
  };
}

function usageOf(usage: Partial<RegionUsage>): RegionUsage {
  const none = { cpuTimeNanos: 0n, memoryByteSeconds: 0n, diskReadBytes: 0n, diskWriteBytes: 0n };
  return { region: 'r', ...none, networkRxBytes: 0n, networkTxBytes: 0n, observedNanos: 0n, ...usage };
}

/** One-minute windows of the worked example. */
function ofWindows(region: string, windows: bigint): RegionUsage {
  return {
    region,
    cpuTimeNanos: windows * 60_000_000_000n,
    memoryByteSeconds: windows * 4_000_000_000n * 60n,
    diskReadBytes: windows * 1_000_000n,
    diskWriteBytes: windows * 1_000_000n,
    networkRxBytes: windows * 1_000_000n,
    networkTxBytes: windows * 1_000_000n,
    observedNanos: windows * 60_000_000_000n,
  };
}

function shown(line: RatedLine): string[] {
  const { meter, quantity, unitPrice, amount } = line;
  return [meter.description, formatDecimal(quantity), meter.unit, formatDecimal(unitPrice), formatDecimal(amount)];
}

function regionShown({ region, quantity }: RatedLine['regions'][number]): string {
  return `${region} ${formatDecimal(quantity)}`;
}

function sumOfRegions(line: RatedLine | undefined): boolean {
  const sum = line?.regions.reduce((total, each) => addDecimals(total, each.quantity), ZERO);
  return line !== undefined && sum !== undefined && compareDecimals(sum, line.quantity) === 0;
}
