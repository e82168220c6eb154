import { compareFractions, type Fraction, fractionOf, multiplyFractions, NONE } from '../money.ts';
import type { ChargeAmount } from './charge-amount.ts';
import type { Tier } from './plan-content.ts';
import { inTier } from './tier-part.ts';

/**
 * The price of the tier that the whole quantity reaches, for all of it, with that tier's flat amount. Nothing billable reaches
 * none.
 * @param share of the period: bounds and flat amounts are multiplied by it
 */
export function volumeAmount(billable: Fraction, tiers: readonly Tier[], share: Fraction): ChargeAmount {
  if (compareFractions(billable, NONE) === 0) return { amount: NONE, tiers: [] };
  const reached = tiers.find(({ upTo }) => {
    return upTo === undefined || compareFractions(billable, multiplyFractions(fractionOf(upTo), share)) <= 0;
  });
  if (reached === undefined) throw new Error('the last of the tiers has an upper bound');
  const { amount, shown } = inTier(reached, billable, share);
  return { amount, tiers: [shown] };
}
