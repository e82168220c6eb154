import type { BillingPeriod } from '../invoice/invoice-input.ts';
import { compareDecimals, type Decimal, fractionOf } from '../money.ts';
import { prorated, type Span } from './prorate.ts';

/** The fee of the span, rounded; parts of an unbroken fee add up to it. @param cap of the charge for a whole period */
export function flatAmount(
  amount: Decimal,
  cap: Decimal | undefined,
  span: Span,
  period: BillingPeriod,
  digits: number,
): Decimal {
  const constant = cap !== undefined && compareDecimals(cap, amount) < 0 ? cap : amount;
  return prorated(fractionOf(constant), span, period, digits);
}
