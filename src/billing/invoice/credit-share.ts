import { CallerFault } from '../../lib/failure.ts';
import { addDecimals, compareDecimals, type Decimal, formatDecimal, negate, roundHalfEven, ZERO } from '../money.ts';

/** What a credit note takes back, computed: of lines as they are on the invoice, and of its taxes in proportion. Pure. */

/** A line or tax of an invoice, with what was credited of it before. Both have the invoice's sign. */
export interface Creditable {
  readonly amount: Decimal;
  readonly credited: Decimal;
}

export interface CreditableLine extends Creditable {
  /** From 1. */
  readonly position: number;
  readonly taxable: boolean;
}

export interface CreditableTax extends Creditable {
  readonly base: Decimal;
  readonly baseCredited: Decimal;
}

/**
 * What is credited of a line.
 * @param asked `undefined`: all that is left
 * @throws CallerFault failed_precondition where less is left, or the sign is not the line's
 */
export function creditOf(line: CreditableLine, asked: Decimal | undefined, field: string): Decimal {
  const left = addDecimals(line.amount, negate(line.credited));
  if (asked === undefined) return left;
  const isBelowZero = compareDecimals(left, ZERO) < 0;
  const fits = isBelowZero
    ? compareDecimals(asked, left) >= 0 && compareDecimals(asked, ZERO) < 0
    : compareDecimals(asked, left) <= 0 && compareDecimals(asked, ZERO) > 0;
  if (fits) return asked;
  const message = `${field}: ${formatDecimal(asked)} is not within the ${formatDecimal(left)} that are left of line ${line.position}`;
  throw new CallerFault('failed_precondition', field, message);
}

/**
 * The share of each tax. It is rounded on what has been credited of the taxable lines in all, so that credits of the whole
 * invoice, in however many parts, add up to its taxes to the last digit.
 * @param lines all of the invoice's, with what this credit note credits of each
 */
export function taxShares(
  lines: readonly (CreditableLine & { readonly credit: Decimal })[],
  taxes: readonly CreditableTax[],
  digits: number,
): { readonly base: Decimal; readonly amount: Decimal }[] {
  const taxable = lines.filter((line) => line.taxable);
  const whole = sum(taxable.map((line) => line.amount));
  const credited = sum(taxable.map((line) => addDecimals(line.credited, line.credit)));
  const shareOf = (amount: Decimal, before: Decimal): Decimal => {
    if (whole.units === 0n) return { units: 0n, scale: digits };
    // amount × credited / whole, with the scales of both sums made equal and the sign in the numerator.
    const scale = Math.max(whole.scale, credited.scale);
    const [over, under] = [unitsAt(credited, scale), unitsAt(whole, scale)];
    const sign = under < 0n ? -1n : 1n;
    const numerator = amount.units * over * sign;
    const inAll = roundHalfEven({ numerator, denominator: 10n ** BigInt(amount.scale) * under * sign }, digits);
    return addDecimals(inAll, negate(before));
  };
  return taxes.map((tax) => ({
    base: shareOf(tax.base, tax.baseCredited),
    amount: shareOf(tax.amount, tax.credited),
  }));
}

export function sum(amounts: readonly Decimal[]): Decimal {
  return amounts.reduce(addDecimals, ZERO);
}

function unitsAt({ units, scale }: Decimal, wanted: number): bigint {
  return units * 10n ** BigInt(wanted - scale);
}
