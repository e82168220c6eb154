import { type Decimal, type Fraction, multiplyByDecimal } from '../money.ts';
import type { ChargeAmount } from './charge-amount.ts';

/** `billable × price`. */
export function unitAmount(billable: Fraction, price: Decimal): ChargeAmount {
  return { amount: multiplyByDecimal(billable, price), tiers: [] };
}
