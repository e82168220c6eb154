import { sql } from 'kysely';
import { messageOf } from '../../lib/failure.ts';
import { periodNamed } from '../calendar.ts';
import { computeInvoice } from '../invoice/compute-invoice.ts';
import type { InvoiceInput } from '../invoice/invoice-input.ts';
import type { InvoicingStore } from '../invoice/invoicing-store.ts';
import { readInvoiceInputs } from '../invoice/read-inputs.ts';
import { addDecimals, formatDecimal, negate, parseDecimal } from '../money.ts';
import type { Metric, PlanContent } from '../rating/plan-content.ts';
import { metricsOf } from './metrics-store.ts';
import { getPlanDraft } from './plan-drafts.ts';

/** What a customer's invoice would have been with the draft instead. */
export interface DraftDifference {
  readonly customerId: string;
  /** ISO 4217. */
  readonly currency: string;
  /** Totals with tax; empty where there is a problem. */
  readonly before: string;
  readonly after: string;
  /** after - before. */
  readonly difference: string;
  /** Why this customer could not be computed; empty where it could. */
  readonly problem: string;
}

interface Draft {
  readonly planId: string;
  readonly content: PlanContent;
  readonly metrics: readonly Metric[];
}

/**
 * What the plan's customers would have paid for a period with the draft instead of what was published. Writes nothing.
 * @param name of the period, e.g. "2026-09", in each customer's own calendar
 * @param after the last customer of the page before; '' is before the first
 * @returns by customer id; of those that ever had the plan
 * @throws CallerFault invalid_argument; not_found where there is no draft
 */
export async function previewDraft(
  store: InvoicingStore,
  planId: string,
  name: string,
  after: string,
  limit: number,
  signal: AbortSignal,
): Promise<DraftDifference[]> {
  const { content } = await getPlanDraft(store.db, planId);
  const metrics = [...(await metricsOf(store.db, [content])).values()];
  const customers = await customersOf(store, planId, after, limit);
  const periods = customers.map(({ customerId, timeZone, anchorDay }) => {
    return { customerId, period: periodNamed(name, { timeZone, anchorDay }) };
  });
  const now = new Date(store.clock.nowMs());
  const isOver = periods.filter(({ period }) => period.end <= now);
  const inputs = await readInvoiceInputs(store, isOver, {}, signal);
  return customers.map(({ customerId, currency }) => {
    const input = inputs.get(customerId) ?? new Error(`${name} is not over for customer "${customerId}"`);
    return { customerId, currency, ...differenceOf(input, { planId, content, metrics }) };
  });
}

function differenceOf(input: InvoiceInput | Error, draft: Draft): Omit<DraftDifference, 'customerId' | 'currency'> {
  if (input instanceof Error) return { before: '', after: '', difference: '', problem: input.message };
  try {
    const { total: before } = computeInvoice(input);
    const { total: after } = computeInvoice(withDraft(input, draft));
    const difference = addDecimals(parseDecimal(after, 'after'), negate(parseDecimal(before, 'before')));
    return { before, after, difference: formatDecimal(difference), problem: '' };
  } catch (reason) {
    return { before: '', after: '', difference: '', problem: messageOf(reason) };
  }
}

/** The same usage with the draft's prices wherever the plan held, in this period and in the next. */
function withDraft(input: InvoiceInput, { planId, content, metrics }: Draft): InvoiceInput {
  const replaced = <Span extends { readonly planId: string }>(span: Span): Span => {
    return span.planId === planId ? { ...span, content, metrics } : span;
  };
  const next = { ...input.next, spans: input.next.spans.map(replaced) };
  return { ...input, spans: input.spans.map(replaced), next };
}

/** Those that subscribed to the plan at any time; whether it held in the period, their spans say. */
async function customersOf({ db }: InvoicingStore, planId: string, after: string, limit: number) {
  return db
    .selectFrom('customers')
    .select(['id as customerId', 'currency', 'time_zone as timeZone', 'anchor_day as anchorDay'])
    .where(sql<boolean>`id IN (SELECT customer_id FROM subscriptions WHERE plan_id = ${planId})`)
    .where('id', '>', after)
    .orderBy('id')
    .limit(limit)
    .execute();
}
