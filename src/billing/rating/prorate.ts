import type { BillingPeriod } from '../invoice/invoice-input.ts';
import { type Decimal, type Fraction, multiplyFractions, roundHalfEven } from '../money.ts';

/** A part of a period, on whole seconds. */
export interface Span {
  readonly start: Date;
  /** Exclusive. */
  readonly end: Date;
}

/** The span's seconds / the period's: 1 for the whole period. */
export function shareOf(span: Span, period: BillingPeriod): Fraction {
  return secondsOver(span.start, span.end, period);
}

/**
 * What of a constant of the period falls to the span, rounded: R(c × e) - R(c × s), with the shares of the period before the
 * span's end and start. So the parts of an unbroken time add up to the whole's to the last digit, however it is split.
 * @param digits behind the point
 */
export function prorated(constant: Fraction, span: Span, period: BillingPeriod, digits: number): Decimal {
  const until = (instant: Date): Decimal => {
    return roundHalfEven(multiplyFractions(constant, secondsOver(period.start, instant, period)), digits);
  };
  return { units: until(span.end).units - until(span.start).units, scale: digits };
}

function secondsOver(start: Date, end: Date, period: BillingPeriod): Fraction {
  return { numerator: seconds(start, end), denominator: seconds(period.start, period.end) };
}

function seconds(start: Date, end: Date): bigint {
  return BigInt(end.getTime() - start.getTime()) / 1000n;
}
