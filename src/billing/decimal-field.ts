import { CallerFault } from '../lib/failure.ts';
import { compareDecimals, type Decimal, formatDecimal, negate, parseDecimal, ZERO } from './money.ts';

export interface DecimalBounds {
  /** Any sign where left out. */
  readonly sign?: 'at least 0' | 'above 0';
  /** The most that it may be, and below 0 the least; 10^12 where left out. */
  readonly max?: bigint;
  readonly isWhole?: boolean;
}

const MAX = 1_000_000_000_000n;
const DIGITS_MAX = 18;

/**
 * A price, amount, rate or quantity of a request: a decimal as text with at most 18 digits behind the point.
 * @throws CallerFault naming the field where it is empty, no plain decimal or out of its bounds
 */
export function parseDecimalField(field: string, text: string, bounds: DecimalBounds = {}): Decimal {
  if (text === '') throw new CallerFault('invalid_argument', field, `${field} is missing`);
  return checkDecimal(field, parseDecimal(text, field), bounds);
}

/** @returns the value @throws CallerFault naming the field where it is out of its bounds, or has over 18 digits */
export function checkDecimal(field: string, value: Decimal, bounds: DecimalBounds = {}): Decimal {
  const refuse = (problem: string): never => {
    throw new CallerFault('invalid_argument', field, `${field}: ${formatDecimal(value).slice(0, 100)} ${problem}`);
  };
  const sign = compareDecimals(value, ZERO);
  if (bounds.sign === 'at least 0' && sign < 0) refuse('is below 0');
  if (bounds.sign === 'above 0' && sign <= 0) refuse('is not above 0');
  const digitsMax = bounds.isWhole === true ? 0 : DIGITS_MAX;
  if (value.scale > digitsMax) refuse(`has ${value.scale} digits behind the point, more than ${digitsMax}`);
  const max: Decimal = { units: bounds.max ?? MAX, scale: 0 };
  const size = sign < 0 ? negate(value) : value;
  if (compareDecimals(size, max) > 0) refuse(`is ${sign < 0 ? 'less than -' : 'more than '}${formatDecimal(max)}`);
  return value;
}
