import type { ComputedLine } from '../invoice/invoice-input.ts';
import {
  addFractions,
  type Fraction,
  fractionOf,
  multiplyByDecimal,
  multiplyFractions,
  roundTo38Digits,
} from '../money.ts';
import type { Tier } from './plan-content.ts';

export type TierPart = ComputedLine['tiers'][number];

/** `quantity × price + flat amount × share`: exact, and as shown. */
export function inTier(tier: Tier, quantity: Fraction, share: Fraction): { amount: Fraction; shown: TierPart } {
  const flat = multiplyFractions(fractionOf(tier.flatAmount), share);
  const amount = addFractions(multiplyByDecimal(quantity, tier.unitPrice), flat);
  const shown = {
    quantity: roundTo38Digits(quantity),
    unitPrice: tier.unitPrice,
    flatAmount: roundTo38Digits(flat),
    amount: roundTo38Digits(amount),
  };
  return { amount, shown };
}
