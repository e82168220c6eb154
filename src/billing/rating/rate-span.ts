import { minorUnits } from '../currencies.ts';
import type { BillingPeriod, ComputedLine, InvoiceInput, MeasuredPlanSpan } from '../invoice/invoice-input.ts';
import { type Decimal, fractionOf } from '../money.ts';
import { plainLine, type RatedCharge, rateCharges } from './charge-lines.ts';
import { applyDiscounts, inOrder } from './discounts.ts';
import { inCustomersCurrency } from './exchange.ts';
import { commitmentOf, type Correction, excessOver, missingTo } from './minimums.ts';
import type { Charge, PlanContent } from './plan-content.ts';
import { prorated } from './prorate.ts';

type Rated = RatedCharge & { readonly line: ComputedLine };

const DESCRIPTIONS = {
  minimum: 'Minimum',
  commitment: 'Commitment, not used',
  overage: 'Use beyond the commitment',
  cap: 'Cap',
} as const satisfies Record<Correction['kind'], string>;

/**
 * The lines of one span: charges in the plan's order, then discounts, charge minimums, and the plan's own. See docs/money.md
 * for the order of steps. Fees in advance count for discounts, minimums and caps of the span that they are for, but have no
 * line here: `settleAdvance` bills what held, less what was billed before.
 * @param currency the customer's
 * @param discounts the customer's
 * @throws CallerFault where the currency is unknown; Error where a metric is missing, or usage is below 0
 */
export function rateSpan(
  span: MeasuredPlanSpan,
  period: BillingPeriod,
  currency: string,
  discounts: InvoiceInput['discounts'],
): ComputedLine[] {
  const digits = minorUnits(currency);
  const content = inCustomersCurrency(span);
  const partMinor = (amount: Decimal): bigint => prorated(fractionOf(amount), span, period, digits).units;
  const charges = rateCharges(span, content, period, digits);
  const rated = charges.filter((each): each is Rated => each.line !== undefined);
  const { applied, leftMinor } = applyDiscounts(
    rated.map(({ charge, line }) => ({ chargeId: charge.chargeId, amountMinor: line.amount.units })),
    inOrder(content.discounts, discounts),
    partMinor,
  );
  const left = new Map(rated.map(({ charge }, index) => [charge, leftMinor[index] ?? 0n]));
  const lineOf = (chargeId: string, description: string, { kind, amountMinor }: CorrectionOrDiscount): ComputedLine => {
    return { ...plainLine(span), kind, chargeId, description, amount: { units: amountMinor, scale: digits } };
  };
  return [
    ...rated.filter(({ charge }) => !isInAdvance(charge)).map(({ line }) => line),
    ...applied.map(({ discountId, terms, amountMinor }) => {
      return lineOf(discountId, terms.description, { kind: 'discount', amountMinor });
    }),
    ...corrections(content, left, partMinor).map(({ charge, correction }) => {
      const description = charge === undefined ? '' : `${nameOf(charge)}: `;
      return lineOf(charge?.chargeId ?? '', `${description}${DESCRIPTIONS[correction.kind]}`, correction);
    }),
  ];
}

type CorrectionOrDiscount = Correction | { readonly kind: 'discount'; readonly amountMinor: bigint };

/**
 * Charge minimums, then the plan's minimum or commitment, then its cap.
 * @param left what discounts left of each charge that has a line
 */
function corrections(
  content: PlanContent,
  left: ReadonlyMap<Charge, bigint>,
  partMinor: (amount: Decimal) => bigint,
): { readonly charge: Charge | undefined; readonly correction: Correction }[] {
  const found: { charge: Charge | undefined; correction: Correction }[] = [];
  let [totalMinor, usedMinor] = [0n, 0n];
  for (const [charge, amountMinor] of left) {
    totalMinor += amountMinor;
    if (charge.model.kind !== 'flat') usedMinor += amountMinor;
  }
  const add = (correction: Correction | undefined, charge?: Charge): void => {
    if (correction === undefined) return;
    found.push({ charge, correction });
    totalMinor += correction.amountMinor;
  };
  for (const charge of content.charges) {
    if (charge.minimum !== undefined) add(missingTo(partMinor(charge.minimum), left.get(charge) ?? 0n), charge);
  }
  const { minimum, commitment, cap } = content;
  if (minimum !== undefined) add(missingTo(partMinor(minimum), totalMinor));
  if (commitment !== undefined) {
    add(commitmentOf(partMinor(commitment.amount), commitment.overagePercent, usedMinor));
  }
  if (cap !== undefined) add(excessOver(partMinor(cap), totalMinor));
  return found;
}

function isInAdvance({ model }: Charge): boolean {
  return model.kind === 'flat' && model.inAdvance;
}

function nameOf(charge: Charge): string {
  return charge.description === '' ? charge.chargeId : charge.description;
}
