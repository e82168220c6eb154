import { type Decimal, fractionOf, multiplyByDecimal, roundHalfEven } from '../money.ts';
import type { DiscountTerms } from './plan-content.ts';

/** A line that discounts may apply to. Amounts are in the currency's minor unit. */
export interface DiscountedLine {
  readonly chargeId: string;
  /** At least 0. */
  readonly amountMinor: bigint;
}

export interface NamedDiscount {
  readonly discountId: string;
  readonly terms: DiscountTerms;
}

interface AppliedDiscount extends NamedDiscount {
  /** Below 0. */
  readonly amountMinor: bigint;
}

interface Discounted {
  /** In the order in which they apply, without those that took nothing. */
  readonly applied: readonly AppliedDiscount[];
  /** What is left of each of the lines, in their order. */
  readonly leftMinor: readonly bigint[];
}

const PER_CENT: Decimal = { units: 1n, scale: 2 };

/**
 * Takes discounts from the lines, each from what those before it left.
 * @param discounts in the order in which they apply
 * @param fixedMinor the span's part of a fixed amount
 */
export function applyDiscounts(
  lines: readonly DiscountedLine[],
  discounts: readonly NamedDiscount[],
  fixedMinor: (amount: Decimal) => bigint,
): Discounted {
  let leftMinor = lines.map((line) => line.amountMinor);
  const applied: AppliedDiscount[] = [];
  for (const discount of discounts) {
    const { value, chargeIds } = discount.terms;
    const applies = ({ chargeId }: DiscountedLine): boolean => chargeIds.length === 0 || chargeIds.includes(chargeId);
    const from = leftMinor.map((left, index) => {
      const line = lines[index];
      return line !== undefined && applies(line) ? left : 0n;
    });
    const sum = from.reduce((total, each) => total + each, 0n);
    const wanted = value.kind === 'percent' ? percentOf(sum, value.percent) : fixedMinor(value.amount);
    const taken = wanted < sum ? wanted : sum;
    if (taken === 0n) continue;
    applied.push({ ...discount, amountMinor: -taken });
    const parts = inProportion(taken, from, sum);
    leftMinor = leftMinor.map((left, index) => left - (parts[index] ?? 0n));
  }
  return { applied, leftMinor };
}

/** In the order in which they apply: by `order`, those of the plan first. */
export function inOrder(ofPlan: readonly DiscountTerms[], ofCustomer: readonly NamedDiscount[]): NamedDiscount[] {
  const named = ofPlan.map((terms, index) => ({ discountId: `discount:${index + 1}`, terms }));
  return [...named, ...ofCustomer].toSorted((a, b) => a.terms.order - b.terms.order);
}

/** Rounded half to even. */
export function percentOf(amountMinor: bigint, percent: Decimal): bigint {
  const amount = fractionOf({ units: amountMinor, scale: 0 });
  return roundHalfEven(multiplyByDecimal(multiplyByDecimal(amount, percent), PER_CENT), 0).units;
}

/**
 * Running sums, rounded down: the parts add up to `whole`, and none is more than what it is taken from.
 * @param whole at most `sum`
 * @param sum of `weights`, above 0
 */
function inProportion(whole: bigint, weights: readonly bigint[], sum: bigint): bigint[] {
  let [passed, given] = [0n, 0n];
  return weights.map((weight) => {
    passed += weight;
    const part = (whole * passed) / sum - given;
    given += part;
    return part;
  });
}
