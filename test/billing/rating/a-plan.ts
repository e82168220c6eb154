import type {
  BillingPeriod,
  ComputedLine,
  InvoiceInput,
  MeasuredPlanSpan,
  SpanUsage,
} from '../../../src/billing/invoice/invoice-input.ts';
import { type Decimal, formatDecimal, parseDecimal } from '../../../src/billing/money.ts';
import { METRICS } from '../../../src/billing/rating/metrics.ts';
import type {
  Charge,
  ChargeModel,
  DiscountTerms,
  MeasuredUsage,
  PlanContent,
  Tier,
} from '../../../src/billing/rating/plan-content.ts';

/** 30 days. */
export const SEPTEMBER: BillingPeriod = {
  name: '2026-09',
  start: new Date('2026-09-01T00:00:00Z'),
  end: new Date('2026-10-01T00:00:00Z'),
};
export const OCTOBER: BillingPeriod = {
  name: '2026-10',
  start: SEPTEMBER.end,
  end: new Date('2026-11-01T00:00:00Z'),
};
export const NO_USAGE: MeasuredUsage = {
  cpuTimeNanos: 0n,
  memoryByteSeconds: 0n,
  diskReadBytes: 0n,
  diskWriteBytes: 0n,
  diskReadOps: 0n,
  diskWriteOps: 0n,
  networkRxBytes: 0n,
  networkTxBytes: 0n,
  observedNanos: 0n,
};
const DAY_MS = 86_400_000;
const CORE_HOUR_NANOS = 3_600_000_000_000n;

export function dec(text: string): Decimal {
  return parseDecimal(text, 'decimal');
}

/** `days` of September, both from 0. */
export function septemberDays(from: number, until: number): { start: Date; end: Date } {
  const startMs = SEPTEMBER.start.getTime();
  return { start: new Date(startMs + from * DAY_MS), end: new Date(startMs + until * DAY_MS) };
}

export function plan(content: Partial<PlanContent>): PlanContent {
  return {
    name: 'Basic',
    charges: [],
    allowances: [],
    discounts: [],
    minimum: undefined,
    commitment: undefined,
    cap: undefined,
    gapPolicy: 'skip',
    gapSecondsMax: 600,
    ...content,
  };
}

export function charge(model: ChargeModel, more: Partial<Charge> = {}): Charge {
  const metric = model.kind === 'flat' ? '' : 'cpu';
  return { chargeId: 'c', description: '', metric, regions: [], cap: undefined, minimum: undefined, ...more, model };
}

export function unit(price: string): ChargeModel {
  return { kind: 'unit', price: dec(price) };
}

export function flat(amount: string, inAdvance = false): ChargeModel {
  return { kind: 'flat', amount: dec(amount), inAdvance };
}

/** Rows of upper bound, unit price and flat amount; an empty bound is none. */
export function tiers(...rows: readonly (readonly [upTo: string, unitPrice: string, flatAmount: string])[]): Tier[] {
  return rows.map(([upTo, unitPrice, flatAmount]) => {
    return { upTo: upTo === '' ? undefined : dec(upTo), unitPrice: dec(unitPrice), flatAmount: dec(flatAmount) };
  });
}

export function percentOff(percent: string, order: number, chargeIds: readonly string[] = []): DiscountTerms {
  return { description: `${percent} %`, value: { kind: 'percent', percent: dec(percent) }, chargeIds, order };
}

export function amountOff(amount: string, order: number, chargeIds: readonly string[] = []): DiscountTerms {
  return { description: amount, value: { kind: 'amount', amount: dec(amount) }, chargeIds, order };
}

/** Core-hours, a decimal that ends within the nanosecond. */
export function coreHours(quantity: string, region = 'eu'): SpanUsage {
  const { units, scale } = dec(quantity);
  return used(region, { cpuTimeNanos: (units * CORE_HOUR_NANOS) / 10n ** BigInt(scale) });
}

export function used(
  region: string,
  observed: Partial<MeasuredUsage>,
  estimated: Partial<MeasuredUsage> = {},
): SpanUsage {
  const hoursHash = '00';
  return { region, observed: { ...NO_USAGE, ...observed }, estimated: { ...NO_USAGE, ...estimated }, hoursHash };
}

export function span(
  content: PlanContent,
  usage: readonly SpanUsage[],
  more: Partial<MeasuredPlanSpan> = {},
): MeasuredPlanSpan {
  const { start, end } = SEPTEMBER;
  const rest = { start, end, planId: 'basic', planVersion: 1, metrics: METRICS, exchange: undefined };
  return { ...rest, ...more, content, usage };
}

export function invoiceInput(more: Partial<InvoiceInput>): InvoiceInput {
  return {
    customerId: 'acme',
    currency: 'EUR',
    timeZone: 'UTC',
    period: SEPTEMBER,
    spans: [],
    next: { period: OCTOBER, spans: [] },
    billedInAdvance: [],
    discounts: [],
    adjustments: [],
    manualLines: [],
    tax: { treatment: 'standard', region: '', rates: [], pricesIncludeTax: false },
    buyer: { name: 'Acme', addressLines: [], country: '', taxId: '', email: '' },
    seller: undefined,
    ...more,
  };
}

/** "usage c 93.60" */
export function shown({ kind, chargeId, amount }: ComputedLine): string {
  return `${kind} ${chargeId} ${formatDecimal(amount)}`.replaceAll('  ', ' ');
}

export function amounts(lines: readonly ComputedLine[]): string[] {
  return lines.map(({ amount }) => formatDecimal(amount));
}
