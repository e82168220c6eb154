import {
  ceilOf,
  type Decimal,
  divideFractions,
  type Fraction,
  fractionOf,
  multiplyDecimals,
  stripZeros,
  ZERO,
} from '../money.ts';
import type { ChargeAmount } from './charge-amount.ts';

/** Started packages × price. Not prorated: a package is bought whole. */
export function packageAmount(billable: Fraction, size: Decimal, price: Decimal): ChargeAmount {
  const packages = { units: ceilOf(divideFractions(billable, fractionOf(size))), scale: 0 };
  const amount = multiplyDecimals(packages, price);
  const shown = { quantity: packages, unitPrice: price, flatAmount: ZERO, amount: stripZeros(amount) };
  return { amount: fractionOf(amount), tiers: packages.units === 0n ? [] : [shown] };
}
