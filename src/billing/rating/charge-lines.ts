import type { BillingPeriod, ComputedLine, MeasuredPlanSpan, PlanSpan } from '../invoice/invoice-input.ts';
import {
  addFractions,
  compareFractions,
  type Decimal,
  type Fraction,
  fractionOf,
  minFraction,
  multiplyFractions,
  NONE,
  roundHalfEven,
  roundTo38Digits,
  splitOver,
  stripZeros,
  subtractFractions,
  ZERO,
} from '../money.ts';
import { billableOf } from './allowance.ts';
import type { ChargeAmount } from './charge-amount.ts';
import { flatAmount } from './charge-flat.ts';
import { graduatedAmount } from './charge-graduated.ts';
import { packageAmount } from './charge-package.ts';
import { unitAmount } from './charge-unit.ts';
import { volumeAmount } from './charge-volume.ts';
import { inPricedUnits } from './metrics.ts';
import type { Charge, PlanContent } from './plan-content.ts';
import { shareOf } from './prorate.ts';
import { type ChargeQuantity, chargeQuantities } from './quantities.ts';

/** A charge of a plan in a span, with its line where it has one. */
export interface RatedCharge {
  readonly charge: Charge;
  readonly line: ComputedLine | undefined;
}

/** A flat fee's line in a span: `amount × share`. `undefined` where the charge is on usage. */
export function flatLine(
  charge: Charge,
  span: PlanSpan,
  period: BillingPeriod,
  digits: number,
): ComputedLine | undefined {
  const { model } = charge;
  if (model.kind !== 'flat') return undefined;
  return {
    ...plainLine(span),
    kind: 'flat',
    chargeId: charge.chargeId,
    description: charge.description === '' ? charge.chargeId : charge.description,
    quantity: roundTo38Digits(shareOf(span, period)),
    unit: 'period',
    unitPrice: charge.cap === undefined ? stripZeros(model.amount) : undefined,
    amount: flatAmount(model.amount, charge.cap, span, period, digits),
  };
}

/**
 * Every charge of the span's plan in its order: rate, allowance, tiers, cap, and the one rounding.
 * @param content the span's plan in the customer's currency
 */
export function rateCharges(
  span: MeasuredPlanSpan,
  content: PlanContent,
  period: BillingPeriod,
  digits: number,
): RatedCharge[] {
  const share = shareOf(span, period);
  const quantities = chargeQuantities({ ...span, content });
  const billables = billableQuantities(quantities, content, share);
  return content.charges.map((charge) => {
    const index = quantities.findIndex((each) => each.charge === charge);
    const [quantity, billable] = [quantities[index], billables[index]];
    if (quantity === undefined || billable === undefined) {
      return { charge, line: flatLine(charge, span, period, digits) };
    }
    return { charge, line: quantity.small === 0n ? undefined : usageLine(span, quantity, billable, share, digits) };
  });
}

/** A line of the span with nothing in it. */
export function plainLine(
  span: Pick<PlanSpan, 'start' | 'end' | 'planId' | 'planVersion' | 'exchange'>,
): Omit<ComputedLine, 'kind' | 'chargeId' | 'description' | 'amount'> {
  return {
    metric: '',
    quantity: { units: 1n, scale: 0 },
    unit: '',
    included: ZERO,
    estimated: ZERO,
    unitPrice: undefined,
    tiers: [],
    regions: [],
    start: span.start,
    end: span.end,
    planId: span.planId,
    planVersion: span.planVersion,
    taxable: true,
    exchange: span.exchange,
    adjustsInvoiceId: undefined,
    manualLineId: undefined,
  };
}

/** What is billable of each quantity once the allowances are taken. */
function billableQuantities(
  quantities: readonly ChargeQuantity[],
  { allowances }: PlanContent,
  share: Fraction,
): Fraction[] {
  return quantities.map(({ metric, small }) => {
    const own = inPricedUnits(metric, small);
    const allowed = allowances.filter((each) => each.metric === metric.id);
    if (allowed.length === 0) return own;
    const allowance = allowed.reduce((sum, each) => addFractions(sum, fractionOf(each.quantity)), NONE);
    const ofMetric = quantities.filter((each) => each.metric.id === metric.id);
    const sum = ofMetric.reduce((total, each) => total + each.small, 0n);
    return billableOf(own, inPricedUnits(metric, sum), multiplyFractions(allowance, share));
  });
}

function usageLine(
  span: PlanSpan,
  { charge, metric, small, estimatedSmall, regions }: ChargeQuantity,
  billable: Fraction,
  share: Fraction,
  digits: number,
): ComputedLine {
  const quantity = inPricedUnits(metric, small);
  const rated = amountOf(charge, billable, share);
  const capped = cappedAt(charge.cap, share, rated.amount);
  const shares = splitOver(
    quantity,
    regions.map((each) => each.small),
  );
  return {
    ...plainLine(span),
    kind: 'usage',
    chargeId: charge.chargeId,
    metric: metric.id,
    description: charge.description === '' ? metric.description : charge.description,
    quantity: roundTo38Digits(quantity),
    unit: metric.unit,
    included: roundTo38Digits(subtractFractions(quantity, billable)),
    estimated: roundTo38Digits(inPricedUnits(metric, estimatedSmall)),
    unitPrice: charge.model.kind === 'unit' && capped === undefined ? stripZeros(charge.model.price) : undefined,
    amount: roundHalfEven(capped ?? rated.amount, digits),
    tiers: rated.tiers,
    regions: regions.map(({ region }, index) => ({ region, quantity: shares[index] ?? ZERO })),
  };
}

function amountOf({ model }: Charge, billable: Fraction, share: Fraction): ChargeAmount {
  switch (model.kind) {
    case 'unit':
      return unitAmount(billable, model.price);
    case 'graduated':
      return graduatedAmount(billable, model.tiers, share);
    case 'volume':
      return volumeAmount(billable, model.tiers, share);
    case 'package':
      return packageAmount(billable, model.size, model.price);
    case 'flat':
      throw new Error('a flat fee is not rated by usage');
  }
}

/** `undefined` where the cap is not reached. */
function cappedAt(cap: Decimal | undefined, share: Fraction, amount: Fraction): Fraction | undefined {
  if (cap === undefined) return undefined;
  const most = multiplyFractions(fractionOf(cap), share);
  return compareFractions(amount, most) > 0 ? minFraction(amount, most) : undefined;
}
