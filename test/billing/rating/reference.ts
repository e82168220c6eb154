import type {
  BillingPeriod,
  ComputedLine,
  InvoiceInput,
  MeasuredPlanSpan,
  PlanSpan,
} from '../../../src/billing/invoice/invoice-input.ts';
import type { Decimal } from '../../../src/billing/money.ts';
import type { Charge, MeasuredUsage, Tier } from '../../../src/billing/rating/plan-content.ts';
import { HUNDRED, Rational, rational, smaller, sum, ZERO } from './rational.ts';

/**
 * The order of steps of docs/money.md once more, as slow and plain as it can be said, in exact rationals and without any of
 * the product's code. What both come to must be the same to the last digit.
 */
export interface ReferenceInvoice {
  /** "usage cpu 93.60", in the order of the invoice. */
  readonly lines: readonly string[];
  readonly taxes: readonly string[];
  readonly total: string;
}

type Line = readonly [kind: string, chargeId: string, amount: Rational];

const ONE = new Rational(1n);

export function referenceInvoice(input: InvoiceInput, digits: number): ReferenceInvoice {
  const lines: Line[] = [];
  for (const span of input.spans) lines.push(...spanLines(span, input, digits));
  lines.push(...settlement(input, digits));
  for (const span of input.next.spans) lines.push(...feesInAdvance(span, span.exchange, input.next.period, digits));
  for (const line of input.adjustments) lines.push(['adjustment', line.chargeId, rational(line.amount)]);
  for (const line of input.manualLines) {
    lines.push(['manual', '', rational(line.quantity).times(rational(line.unitPrice)).rounded(digits)]);
  }
  const net = sum(lines.map(([, , amount]) => amount));
  const { taxes, added } = taxesOf(input, lines.length > 0 ? net : undefined, digits);
  return {
    lines: lines.map(([kind, chargeId, amount]) => `${kind} ${chargeId} ${amount.text(digits)}`),
    taxes,
    total: net.plus(added).text(digits),
  };
}

function spanLines(span: MeasuredPlanSpan, input: InvoiceInput, digits: number): Line[] {
  const { content } = span;
  const money = inCustomersCurrency(span.exchange);
  const part = (constant: Rational): Rational => partOf(constant, span, input.period, digits);
  const gross = new Map<Charge, Rational>();
  for (const each of content.charges) {
    const amount =
      each.model.kind === 'flat' ? part(feeOf(each, span.exchange)) : usageAmount(each, span, input.period, digits);
    if (amount !== undefined) gross.set(each, amount);
  }
  const lines: Line[] = [];
  for (const [{ chargeId, model }, amount] of gross) {
    if (model.kind !== 'flat') lines.push(['usage', chargeId, amount]);
    else if (!model.inAdvance) lines.push(['flat', chargeId, amount]);
  }
  const left = new Map(gross);
  const ofPlan = content.discounts.map((terms, at) => ({ id: `discount:${at + 1}`, terms, money }));
  const own = input.discounts.map(({ discountId, terms }) => ({ id: discountId, terms, money: rational }));
  for (const { id, terms, money: worth } of [...ofPlan, ...own].toSorted((a, b) => a.terms.order - b.terms.order)) {
    const from = [...left.keys()].filter(
      ({ chargeId }) => terms.chargeIds.length === 0 || terms.chargeIds.includes(chargeId),
    );
    const base = sum(from.map((each) => left.get(each) ?? ZERO));
    const { value } = terms;
    const taken =
      value.kind === 'percent'
        ? base.times(rational(value.percent)).over(HUNDRED).rounded(digits)
        : smaller(part(worth(value.amount)), base);
    if (taken.top === 0n) continue;
    lines.push(['discount', id, ZERO.minus(taken)]);
    let [passed, given] = [ZERO, ZERO];
    for (const each of from) {
      const here = left.get(each) ?? ZERO;
      passed = passed.plus(here);
      const until = taken.times(passed).over(base).cut(digits);
      left.set(each, here.minus(until.minus(given)));
      given = until;
    }
  }
  lines.push(...planLines(span, left, part, digits));
  return lines;
}

function planLines(
  { content, exchange }: PlanSpan,
  left: ReadonlyMap<Charge, Rational>,
  part: (constant: Rational) => Rational,
  digits: number,
): Line[] {
  const money = inCustomersCurrency(exchange);
  const lines: Line[] = [];
  for (const each of content.charges) {
    const missing = each.minimum && part(money(each.minimum)).minus(left.get(each) ?? ZERO);
    if (missing?.isAbove(ZERO)) lines.push(['minimum', each.chargeId, missing]);
  }
  const total = (): Rational => sum([...left.values(), ...lines.map(([, , amount]) => amount)]);
  if (content.minimum) {
    const missing = part(money(content.minimum)).minus(total());
    if (missing.isAbove(ZERO)) lines.push(['minimum', '', missing]);
  }
  if (content.commitment) {
    const used = sum([...left].filter(([each]) => each.model.kind !== 'flat').map(([, amount]) => amount));
    const beyond = used.minus(part(money(content.commitment.amount)));
    const more = rational(content.commitment.overagePercent).minus(HUNDRED).over(HUNDRED);
    const overage = beyond.times(more).rounded(digits);
    if (ZERO.isAbove(beyond)) lines.push(['commitment', '', ZERO.minus(beyond)]);
    else if (overage.top !== 0n) lines.push(['overage', '', overage]);
  }
  if (content.cap) {
    const above = total().minus(part(money(content.cap)));
    if (above.isAbove(ZERO)) lines.push(['cap', '', ZERO.minus(above)]);
  }
  return lines;
}

/** `undefined` where nothing was used. */
function usageAmount(
  each: Charge,
  span: MeasuredPlanSpan,
  period: BillingPeriod,
  digits: number,
): Rational | undefined {
  const quantity = quantityOf(each, span);
  if (quantity.top === 0n) return undefined;
  const share = shareUntil(span.end, period).minus(shareUntil(span.start, period));
  const money = inCustomersCurrency(span.exchange);
  const ofMetric = span.content.charges.filter((other) => other.metric === each.metric && other.model.kind !== 'flat');
  const all = sum(ofMetric.map((other) => quantityOf(other, span)));
  const allowances = span.content.allowances.filter(({ metric }) => metric === each.metric);
  const free = sum(allowances.map((allowance) => rational(allowance.quantity))).times(share);
  const billable = all.isAbove(free) ? quantity.times(all.minus(free)).over(all) : ZERO;
  const amount = modelAmount(each, billable, share, money);
  const most = each.cap && money(each.cap).times(share);
  return (most === undefined ? amount : smaller(amount, most)).rounded(digits);
}

function modelAmount(
  { model }: Charge,
  billable: Rational,
  share: Rational,
  money: (amount: Decimal) => Rational,
): Rational {
  if (billable.top === 0n || model.kind === 'flat') return ZERO;
  if (model.kind === 'unit') return billable.times(money(model.price));
  if (model.kind === 'package') {
    const packages = billable.over(rational(model.size));
    const whole = packages.cut(0);
    return (packages.isAbove(whole) ? whole.plus(ONE) : whole).times(money(model.price));
  }
  let amount = ZERO;
  let lower = ZERO;
  for (const tier of model.tiers) {
    const upper = boundOf(tier, share);
    const reaches = upper === undefined || !billable.isAbove(upper);
    const flat = money(tier.flatAmount).times(share);
    if (model.kind === 'volume' && reaches) return billable.times(money(tier.unitPrice)).plus(flat);
    if (model.kind === 'graduated') {
      const end = reaches ? billable : (upper ?? billable);
      amount = amount.plus(end.minus(lower).times(money(tier.unitPrice))).plus(flat);
      if (reaches) return amount;
      lower = end;
    }
  }
  throw new Error('no tier is without a bound');
}

function boundOf({ upTo }: Tier, share: Rational): Rational | undefined {
  return upTo && rational(upTo).times(share);
}

function quantityOf(each: Charge, span: MeasuredPlanSpan): Rational {
  const metric = span.metrics.find(({ id }) => id === each.metric);
  if (metric === undefined) throw new Error('no metric');
  const weigh = (usage: MeasuredUsage): bigint[] =>
    metric.terms.map(({ quantity, weight }) => usage[quantity] * weight);
  const named = span.content.charges.filter((other) => other.metric === each.metric).flatMap((other) => other.regions);
  let small = 0n;
  for (const { region, observed, estimated } of span.usage) {
    const isCharged = each.regions.length > 0 ? each.regions.includes(region) : !named.includes(region);
    if (isCharged) for (const value of [...weigh(observed), ...weigh(estimated)]) small += value;
  }
  return new Rational(small, metric.perUnit);
}

/** What held at the rate that it was billed at, less what was billed, for each fee of each plan version. */
function settlement(input: InvoiceInput, digits: number): Line[] {
  const fees = new Map<string, { chargeId: string; due: Rational[]; billed: Rational[] }>();
  const feeFor = (plan: Pick<ComputedLine, 'planId' | 'planVersion'>, chargeId: string) => {
    const key = `${plan.planId} ${plan.planVersion} ${chargeId}`;
    const fee = fees.get(key) ?? { chargeId, due: [], billed: [] };
    fees.set(key, fee);
    return fee;
  };
  for (const span of input.spans) {
    for (const { chargeId } of span.content.charges.filter(({ model }) => model.kind === 'flat' && model.inAdvance)) {
      const billed = input.billedInAdvance.find((line) => {
        return line.chargeId === chargeId && line.planId === span.planId && line.planVersion === span.planVersion;
      });
      const held = feesInAdvance(span, billed === undefined ? span.exchange : billed.exchange, input.period, digits);
      for (const [, id, amount] of held) if (id === chargeId) feeFor(span, chargeId).due.push(amount);
    }
  }
  for (const line of input.billedInAdvance) feeFor(line, line.chargeId).billed.push(rational(line.amount));
  return [...fees.values()].flatMap(({ chargeId, due, billed }): Line[] => {
    const off = sum(due).minus(sum(billed));
    return off.top === 0n && billed.length > 0 ? [] : [['flat', chargeId, off]];
  });
}

function feesInAdvance(span: PlanSpan, exchange: PlanSpan['exchange'], period: BillingPeriod, digits: number): Line[] {
  const fees = span.content.charges.filter(({ model }) => model.kind === 'flat' && model.inAdvance);
  return fees.map((each) => ['flat', each.chargeId, partOf(feeOf(each, exchange), span, period, digits)]);
}

function feeOf({ model, cap }: Charge, exchange: PlanSpan['exchange']): Rational {
  if (model.kind !== 'flat') throw new Error('no flat fee');
  const money = inCustomersCurrency(exchange);
  return cap === undefined ? money(model.amount) : smaller(money(cap), money(model.amount));
}

function taxesOf(
  { tax }: InvoiceInput,
  net: Rational | undefined,
  digits: number,
): { readonly taxes: readonly string[]; readonly added: Rational } {
  if (net === undefined || tax.treatment !== 'standard') {
    return { taxes: net === undefined ? [] : [`${net.text(digits)} ${ZERO.text(digits)}`], added: ZERO };
  }
  const percents = tax.rates.map(({ percent }) => rational(percent));
  const divisor = tax.pricesIncludeTax ? HUNDRED.plus(sum(percents)) : HUNDRED;
  const amounts = percents.map((percent) => net.times(percent).over(divisor).rounded(digits));
  const base = tax.pricesIncludeTax ? net.minus(sum(amounts)) : net;
  return {
    taxes: amounts.map((amount) => `${base.text(digits)} ${amount.text(digits)}`),
    added: tax.pricesIncludeTax ? ZERO : sum(amounts),
  };
}

function inCustomersCurrency(exchange: PlanSpan['exchange']): (amount: Decimal) => Rational {
  return (amount) => (exchange === undefined ? rational(amount) : rational(amount).times(rational(exchange.rate)));
}

/** R(c × e) - R(c × s). */
function partOf(constant: Rational, span: PlanSpan, period: BillingPeriod, digits: number): Rational {
  const until = (instant: Date): Rational => constant.times(shareUntil(instant, period)).rounded(digits);
  return until(span.end).minus(until(span.start));
}

function shareUntil(instant: Date, { start, end }: BillingPeriod): Rational {
  return new Rational(BigInt(instant.getTime() - start.getTime()), BigInt(end.getTime() - start.getTime()));
}
