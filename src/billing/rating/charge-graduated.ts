import {
  addFractions,
  compareFractions,
  type Fraction,
  fractionOf,
  minFraction,
  multiplyFractions,
  NONE,
  subtractFractions,
} from '../money.ts';
import type { ChargeAmount } from './charge-amount.ts';
import type { Tier } from './plan-content.ts';
import { inTier, type TierPart } from './tier-part.ts';

/**
 * Each tier's price for the part of the quantity in it, with the flat amount of each tier that any of it lies in.
 * @param share of the period: bounds and flat amounts are multiplied by it
 */
export function graduatedAmount(billable: Fraction, tiers: readonly Tier[], share: Fraction): ChargeAmount {
  let [amount, lower] = [NONE, NONE];
  const parts: TierPart[] = [];
  for (const tier of tiers) {
    if (compareFractions(billable, lower) <= 0) break;
    const upper = tier.upTo === undefined ? billable : multiplyFractions(fractionOf(tier.upTo), share);
    const part = inTier(tier, subtractFractions(minFraction(billable, upper), lower), share);
    amount = addFractions(amount, part.amount);
    parts.push(part.shown);
    lower = upper;
  }
  return { amount, tiers: parts };
}
