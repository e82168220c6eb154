import {
  compareFractions,
  divideFractions,
  type Fraction,
  multiplyFractions,
  NONE,
  subtractFractions,
} from '../money.ts';

/**
 * What is billable of a charge once the allowance is taken from the metric as a whole: in proportion to what each charge
 * has, since then no order of charges or regions matters.
 * @param quantity of the charge
 * @param sum of the metric over the plan's charges
 * @param allowance of the metric, multiplied by the span's share of the period
 */
export function billableOf(quantity: Fraction, sum: Fraction, allowance: Fraction): Fraction {
  if (compareFractions(sum, allowance) <= 0) return NONE;
  return divideFractions(multiplyFractions(quantity, subtractFractions(sum, allowance)), sum);
}
