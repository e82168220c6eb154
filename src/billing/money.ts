import { CallerFault } from '../lib/failure.ts';

/**
 * Exact numbers. Everything between a counter and a cent is a `Decimal` or a `Fraction`; the only steps that lose anything
 * are `roundHalfEven` and `roundTo38Digits`, and only the callers of those two round.
 */

/** `units / 10^scale`, with a whole scale of at least 0. */
export interface Decimal {
  readonly units: bigint;
  readonly scale: number;
}

/** `numerator / denominator`, with a denominator above 0. Need not be in lowest terms. */
export interface Fraction {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

export const ZERO: Decimal = { units: 0n, scale: 0 };
export const NONE: Fraction = { numerator: 0n, denominator: 1n };

const DECIMAL = /^(-?)(\d+)(?:\.(\d+))?$/;
/** How JavaScript writes a double that is not negative: the fewest digits that tell it from its neighbours. */
const DOUBLE = /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/;
const DECIMAL_LENGTH_MAX = 1000;
const QUANTITY_DIGITS = 38;

/** Reads text such as "-12.50". @throws CallerFault naming the field where it is no plain decimal or over 1,000 long */
export function parseDecimal(text: string, field: string): Decimal {
  const [, sign, whole, part = ''] = (text.length <= DECIMAL_LENGTH_MAX ? DECIMAL.exec(text) : null) ?? [];
  if (whole === undefined) {
    const shown = JSON.stringify(text.slice(0, 100));
    throw new CallerFault('invalid_argument', field, `${field}: ${shown} is no decimal of at most 1000 characters`);
  }
  const units = BigInt(whole + part);
  return { units: sign === '-' ? -units : units, scale: part.length };
}

/**
 * The shortest decimal of a double: 0.1 is one tenth, not the binary number beside it.
 * @throws CallerFault naming the field where it is negative, infinite or no number
 */
export function decimalOfDouble(value: number, field: string): Decimal {
  const [, whole, part = '', exponent = '0'] = DOUBLE.exec(String(value)) ?? [];
  if (whole === undefined) {
    throw new CallerFault('invalid_argument', field, `${field}: ${value} is not a number of at least 0`);
  }
  const units = BigInt(whole + part);
  const scale = part.length - Number(exponent);
  return scale >= 0 ? { units, scale } : { units: units * tenTo(-scale), scale: 0 };
}

/** Plain text with all digits of the scale: 9360 of scale 2 is "93.60". */
export function formatDecimal({ units, scale }: Decimal): string {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, '0');
  const whole = digits.slice(0, digits.length - scale);
  const sign = units < 0n ? '-' : '';
  return scale === 0 ? `${sign}${whole}` : `${sign}${whole}.${digits.slice(-scale)}`;
}

/** The same number without zeros at the end. */
export function stripZeros({ units, scale }: Decimal): Decimal {
  let [stripped, digits] = [units, scale];
  for (; digits > 0 && stripped % 10n === 0n; digits--) stripped /= 10n;
  return { units: stripped, scale: digits };
}

export function addDecimals(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale);
  return { units: unitsAt(a, scale) + unitsAt(b, scale), scale };
}

export function subtractDecimals(a: Decimal, b: Decimal): Decimal {
  return addDecimals(a, negate(b));
}

export function negate({ units, scale }: Decimal): Decimal {
  return { units: -units, scale };
}

/** Below 0 where `a` is less than `b`, 0 where they are the same number, above 0 otherwise. */
export function compareDecimals(a: Decimal, b: Decimal): number {
  const scale = Math.max(a.scale, b.scale);
  const difference = unitsAt(a, scale) - unitsAt(b, scale);
  return difference === 0n ? 0 : difference < 0n ? -1 : 1;
}

export function multiplyDecimals(a: Decimal, b: Decimal): Decimal {
  return { units: a.units * b.units, scale: a.scale + b.scale };
}

export function fractionOf({ units, scale }: Decimal): Fraction {
  return { numerator: units, denominator: tenTo(scale) };
}

export function addFractions(a: Fraction, b: Fraction): Fraction {
  if (a.denominator === b.denominator) return { numerator: a.numerator + b.numerator, denominator: a.denominator };
  return {
    numerator: a.numerator * b.denominator + b.numerator * a.denominator,
    denominator: a.denominator * b.denominator,
  };
}

export function subtractFractions(a: Fraction, b: Fraction): Fraction {
  return addFractions(a, { numerator: -b.numerator, denominator: b.denominator });
}

export function multiplyFractions(a: Fraction, b: Fraction): Fraction {
  return { numerator: a.numerator * b.numerator, denominator: a.denominator * b.denominator };
}

/** @param by above 0 */
export function divideFractions(a: Fraction, by: Fraction): Fraction {
  return { numerator: a.numerator * by.denominator, denominator: a.denominator * by.numerator };
}

/** Below 0 where `a` is less than `b`, 0 where they are the same number, above 0 otherwise. */
export function compareFractions(a: Fraction, b: Fraction): number {
  const difference = a.numerator * b.denominator - b.numerator * a.denominator;
  return difference === 0n ? 0 : difference < 0n ? -1 : 1;
}

export function minFraction(a: Fraction, b: Fraction): Fraction {
  return compareFractions(a, b) <= 0 ? a : b;
}

/** The smallest whole number that is not below it. */
export function ceilOf({ numerator, denominator }: Fraction): bigint {
  return -floorDivide(-numerator, denominator);
}

export function multiplyByDecimal(fraction: Fraction, factor: Decimal): Fraction {
  return { numerator: fraction.numerator * factor.units, denominator: fraction.denominator * tenTo(factor.scale) };
}

/** Rounds to `scale` digits behind the point; what lies half way between two goes to the even one. */
export function roundHalfEven({ numerator, denominator }: Fraction, scale: number): Decimal {
  const scaled = numerator * tenTo(scale);
  const floor = floorDivide(scaled, denominator);
  const twiceRest = (scaled - floor * denominator) * 2n;
  const up = twiceRest > denominator || (twiceRest === denominator && floor % 2n !== 0n);
  return { units: up ? floor + 1n : floor, scale };
}

/**
 * Exact where the fraction ends within 38 significant digits; rounded half to even to 38 otherwise. At least 0 only.
 * Digits before the point are never rounded away, however many they are.
 */
export function roundTo38Digits(fraction: Fraction): Decimal {
  return stripZeros(roundHalfEven(fraction, scaleOf38Digits(fraction)));
}

/**
 * Splits the fraction over `shares`, which add up to it, so that the split adds up to `roundTo38Digits` of it to the last
 * digit: every share is rounded down, and the units that this leaves go to those that lost most, the earlier first.
 * @param shares numerators over the fraction's denominator, none below 0
 */
export function splitOver(fraction: Fraction, shares: readonly bigint[]): Decimal[] {
  const scale = scaleOf38Digits(fraction);
  const parts = shares.map((share, index) => {
    const scaled = share * tenTo(scale);
    return { index, units: scaled / fraction.denominator, lost: scaled % fraction.denominator };
  });
  const given = parts.reduce((sum, part) => sum + part.units, 0n);
  const left = Number(roundHalfEven(fraction, scale).units - given);
  const losers = parts.toSorted((a, b) => (a.lost === b.lost ? a.index - b.index : a.lost > b.lost ? -1 : 1));
  const raised = new Set(losers.slice(0, left).map((part) => part.index));
  return parts.map(({ index, units }) => stripZeros({ units: raised.has(index) ? units + 1n : units, scale }));
}

/** How many digits behind the point make 38 in all, counted from the first that is not 0; at least 0. */
function scaleOf38Digits({ numerator, denominator }: Fraction): number {
  if (numerator === 0n) return 0;
  // The quotient has as many digits before the point as this says, or one less: counted exactly below.
  let whole = numerator.toString().length - denominator.toString().length + 1;
  if (compareToPowerOfTen(numerator, denominator, whole - 1) < 0n) whole--;
  return Math.max(0, QUANTITY_DIGITS - whole);
}

/** The sign of `numerator / denominator - 10^power`. */
function compareToPowerOfTen(numerator: bigint, denominator: bigint, power: number): bigint {
  return power >= 0 ? numerator - denominator * tenTo(power) : numerator * tenTo(-power) - denominator;
}

function unitsAt({ units, scale }: Decimal, wantedScale: number): bigint {
  return units * tenTo(wantedScale - scale);
}

/** Towards minus infinity; the operator cuts towards zero. */
function floorDivide(a: bigint, b: bigint): bigint {
  return a % b < 0n ? a / b - 1n : a / b;
}

function tenTo(power: number): bigint {
  return 10n ** BigInt(power);
}
