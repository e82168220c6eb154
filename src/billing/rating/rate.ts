import { minorUnits } from '../currencies.ts';
import {
  addDecimals,
  type Decimal,
  multiplyByDecimal,
  roundHalfEven,
  roundTo38Digits,
  splitOver,
  ZERO,
} from '../money.ts';
import { inPricedUnits, type Meter, type MeterId, METERS, type RegionUsage } from './meters.ts';

/** What one unit of each meter costs. None below 0; 0 is free. */
export type UnitPrices = Readonly<Record<MeterId, Decimal>>;

/** One line of an invoice. */
export interface RatedLine {
  readonly meter: Meter;
  /** Exact where it ends within 38 significant digits, else rounded half to even to 38. For show: the amount is not computed from it. */
  readonly quantity: Decimal;
  readonly unitPrice: Decimal;
  /** The exact quantity × the price, rounded once to the currency's minor unit, half to even. */
  readonly amount: Decimal;
  /** Add up to `quantity` to the last digit. Ordered by region; a region that used nothing is left out. */
  readonly regions: readonly { readonly region: string; readonly quantity: Decimal }[];
}

/**
 * Prices what was used while one set of prices held: a line per meter, in the order of `METERS`. A meter of which nothing
 * was used gets no line; one that is free gets a line with the amount 0. The order of `usage` does not matter.
 * @throws CallerFault where the currency is unknown
 */
export function rate(usage: readonly RegionUsage[], prices: UnitPrices, currency: string): RatedLine[] {
  const digits = minorUnits(currency);
  return METERS.flatMap((meter) => {
    const measured = measuredByRegion(usage, meter);
    const sum = measured.reduce((total, each) => total + each.measured, 0n);
    return sum === 0n ? [] : [rateMeter(meter, sum, measured, prices[meter.id], digits)];
  });
}

/** The sum of the lines. */
export function totalOf(lines: readonly Pick<RatedLine, 'amount'>[]): Decimal {
  return lines.reduce((sum, line) => addDecimals(sum, line.amount), ZERO);
}

interface Measured {
  readonly region: string;
  readonly measured: bigint;
}

function rateMeter(
  meter: Meter,
  sum: bigint,
  measured: readonly Measured[],
  unitPrice: Decimal,
  digits: number,
): RatedLine {
  const quantity = inPricedUnits(meter, sum);
  const shares = splitOver(
    quantity,
    measured.map((each) => each.measured),
  );
  return {
    meter,
    quantity: roundTo38Digits(quantity),
    unitPrice,
    amount: roundHalfEven(multiplyByDecimal(quantity, unitPrice), digits),
    regions: measured.map(({ region }, index) => ({ region, quantity: shares[index] ?? ZERO })),
  };
}

/** @throws Error where a quantity is below 0, which no sum of windows can be */
function measuredByRegion(usage: readonly RegionUsage[], meter: Meter): Measured[] {
  const byRegion = new Map<string, bigint>();
  for (const each of usage) {
    const measured = meter.measured(each);
    if (measured < 0n) throw new Error(`${meter.id} in region "${each.region}": ${measured} is below 0`);
    byRegion.set(each.region, (byRegion.get(each.region) ?? 0n) + measured);
  }
  return [...byRegion]
    .filter(([, measured]) => measured > 0n)
    .map(([region, measured]) => ({ region, measured }))
    .toSorted((a, b) => (a.region < b.region ? -1 : 1));
}
