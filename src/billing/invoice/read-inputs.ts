import { readSeller } from '../seller.ts';
import { type CustomerTerms, readTerms } from '../terms.ts';
import { readAdjustments } from './adjustments.ts';
import { type FinalInvoice, historyKey, lookBack, readAdvanceFees, readHistory } from './history.ts';
import type { BillingPeriod, InvoiceInput, PlanSpan } from './invoice-input.ts';
import type { InvoicingStore } from './invoicing-store.ts';
import { manualLinesFor } from './manual-lines.ts';
import { usageRequestOf, withUsage } from './usage-request.ts';

/** One period of a customer. */
export interface CustomerPeriod {
  readonly customerId: string;
  readonly period: BillingPeriod;
}

/** An invoice's input, and what it has to be compared with again before the invoice is made final. */
export interface ReadInput {
  readonly input: InvoiceInput;
  readonly terms: CustomerTerms;
  /** See `historyKey`. */
  readonly historyKey: string;
}

export interface ReadOptions {
  /** Usage up to here only: it shows what an invoice would be, and drafts before it count as if they were final. */
  readonly until?: Date;
  /** The id of an invoice that counts as void: the period is to have another in its place. */
  readonly without?: string;
}

/**
 * All that these customers' invoices are computed from, with a number of queries that does not grow with theirs.
 * @param periods at most 1,000, of different customers
 * @returns by customer; an Error where that customer's cannot be had, e.g. for want of an exchange rate
 */
export async function readInvoiceInputs(
  store: InvoicingStore,
  periods: readonly CustomerPeriod[],
  options: ReadOptions,
  signal: AbortSignal,
): Promise<Map<string, InvoiceInput | Error>> {
  const read = await readInputs(store, periods, options, signal);
  return new Map([...read].map(([id, each]) => [id, each instanceof Error ? each : each.input]));
}

/** The same with what closing compares. */
export async function readInputs(
  store: InvoicingStore,
  periods: readonly CustomerPeriod[],
  options: ReadOptions,
  signal: AbortSignal,
): Promise<Map<string, ReadInput | Error>> {
  const { db } = store;
  const { until, without } = options;
  const [first] = periods;
  if (first === undefined) return new Map();
  const terms = await readTerms(db, periods, until);
  const seller = await readSeller(db);
  const ids = periods.map(({ customerId }) => customerId);
  const history = await readHistory(db, ids, lookBack(earliestStart(periods)), without);
  const advance = await readAdvanceFees(db, ids, until !== undefined);
  const manual = await manualLinesFor(db, periods, without);
  const adjusting = periods.map((each) => ({ ...each, history: historyOf(each, history) }));
  const adjustments = await readAdjustments(store, adjusting, without, signal);
  const withTerms = periods.flatMap((each) => {
    const found = terms.get(each.customerId) ?? new Error(`customer "${each.customerId}" is not registered`);
    return found instanceof Error ? [] : [{ ...each, terms: found }];
  });
  const requests = withTerms.map((each) => usageRequestOf(each.customerId, each.terms.spans, until));
  const usage = await store.usage.readUsage(requests, signal);
  const inputs = withTerms.map(({ customerId, period, terms: own }, index): [string, ReadInput] => {
    const past = historyOf({ customerId, period }, history);
    const input: InvoiceInput = {
      customerId,
      currency: own.currency,
      timeZone: own.timeZone,
      period,
      spans: withUsage(own.spans, usage[index] ?? []),
      next: { period: own.next.period, spans: nextSpans(own.next, past) },
      billedInAdvance: (advance.get(customerId) ?? []).filter(
        ({ start }) => start >= period.start && start < period.end,
      ),
      discounts: own.discounts,
      adjustments: adjustments.get(customerId) ?? [],
      manualLines: manual.get(customerId) ?? [],
      tax: own.tax,
      buyer: own.buyer,
      seller,
    };
    return [customerId, { input, terms: own, historyKey: historyKey(past) }];
  });
  const failed = [...terms].filter((entry): entry is [string, Error] => entry[1] instanceof Error);
  return new Map<string, ReadInput | Error>([...failed, ...inputs]);
}

/** Fees in advance are left out where the next period was invoiced before this one: that invoice has them. */
function nextSpans(next: InvoiceInput['next'], history: readonly FinalInvoice[]): readonly PlanSpan[] {
  const isInvoiced = history.some((invoice) => invoice.start.getTime() === next.period.start.getTime());
  return isInvoiced ? [] : next.spans;
}

/** As far back as this period's own start says, whatever the other customers' are. */
export function historyOf(
  { customerId, period }: CustomerPeriod,
  all: ReadonlyMap<string, readonly FinalInvoice[]>,
): readonly FinalInvoice[] {
  return (all.get(customerId) ?? []).filter((invoice) => invoice.end > lookBack(period.start));
}

export function earliestStart(periods: readonly CustomerPeriod[]): Date {
  return new Date(Math.min(...periods.map(({ period }) => period.start.getTime())));
}
