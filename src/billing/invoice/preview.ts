import { sql } from 'kysely';
import { CallerFault, messageOf } from '../../lib/failure.ts';
import { type Calendar, periodAt, periodNamed } from '../calendar.ts';
import { getCustomer } from '../customers.ts';
import { parsePeriod } from '../period.ts';
import { pendingOf } from './close-batch.ts';
import { computeInvoice, toInvoiceTax } from './compute-invoice.ts';
import type { InvoiceInput } from './invoice-input.ts';
import type { Invoice } from './invoice.ts';
import type { InvoicingStore } from './invoicing-store.ts';
import { type CustomerPeriod, readInvoiceInputs } from './read-inputs.ts';

/** What invoices would be. Nothing here writes. */

/** What closing a period would do with one customer. */
export interface DryRunOutcome {
  readonly customerId: string;
  /** ISO 4217. */
  readonly currency: string;
  /** Empty where there would be no invoice. */
  readonly total: string;
  readonly lines: number;
  /** Why it could not be made final now; empty where it could. */
  readonly problem: string;
}

/**
 * The invoice of a customer's period as it would be with what is rolled up until now.
 * @param name '' is the running period
 * @returns without an id; `asOf` is up to when usage is counted
 * @throws CallerFault invalid_argument; not_found; failed_precondition where the period has not begun, or its invoice cannot
 *   be computed, e.g. for want of an exchange rate
 */
export async function previewInvoice(
  store: InvoicingStore,
  customerId: string,
  name: string,
  signal: AbortSignal,
): Promise<{ readonly invoice: Invoice; readonly asOf: Date }> {
  const nowMs = store.clock.nowMs();
  const now = new Date(nowMs - (nowMs % 1000));
  const calendar: Calendar = await getCustomer(store.db, customerId);
  const period = name === '' ? periodAt(now, calendar) : periodNamed(name, calendar);
  if (period.start > now) {
    const message = `period: ${period.name} does not begin before ${period.start.toISOString()}`;
    throw new CallerFault('failed_precondition', 'period', message);
  }
  const asOf = now < period.end ? now : period.end;
  const inputs = await readInvoiceInputs(store, [{ customerId, period }], { until: asOf }, signal);
  const input = inputs.get(customerId) ?? new Error('there is no input');
  if (input instanceof CallerFault) throw input;
  if (input instanceof Error) {
    const message = `period: the invoice of ${period.name} cannot be computed: ${input.message}`;
    throw new CallerFault('failed_precondition', 'period', message);
  }
  return { invoice: toInvoice(input), asOf };
}

function toInvoice(input: InvoiceInput): Invoice {
  const { lines, taxes, net, tax, total, pricesIncludeTax, inputHash, linesHash } = computeInvoice(input);
  const { customerId, currency, timeZone, period, buyer, seller } = input;
  return {
    invoiceId: '',
    number: undefined,
    customerId,
    state: 'draft',
    period: period.name,
    periodStart: period.start,
    periodEnd: period.end,
    timeZone,
    currency,
    net,
    tax,
    total,
    pricesIncludeTax,
    lines,
    taxes: taxes.map(toInvoiceTax),
    finalizedAt: undefined,
    dueAt: undefined,
    amountPaid: '0',
    amountCredited: '0',
    amountDue: '0',
    replacesInvoiceId: undefined,
    voidedAt: undefined,
    voidReason: '',
    seller,
    buyer,
    inputHash: inputHash.toString('hex'),
    linesHash: linesHash.toString('hex'),
  };
}

/**
 * What closing a period would do now, by customer, for those behind `after`.
 * @throws CallerFault invalid_argument
 */
export async function dryRunPeriod(
  store: InvoicingStore,
  name: string,
  after: string,
  limit: number,
  signal: AbortSignal,
): Promise<DryRunOutcome[]> {
  parsePeriod(name);
  const rows = await billedBy(store, name, after, limit);
  const inputs = await readInvoiceInputs(store, rows, {}, signal);
  const waiting = await pendingOf(store, rows, signal);
  const now = store.clock.nowMs();
  return rows.map(({ customerId, currency, period }) => {
    const graceEnd = new Date(period.end.getTime() + store.graceMs);
    const early = graceEnd.getTime() > now ? `the grace lasts until ${graceEnd.toISOString()}` : '';
    const problem = waiting.has(customerId) ? 'hours wait for the rollup' : early;
    return { customerId, currency, ...outcomeOf(inputs.get(customerId), problem) };
  });
}

function outcomeOf(
  input: InvoiceInput | Error | undefined,
  problem: string,
): Pick<DryRunOutcome, 'total' | 'lines' | 'problem'> {
  const none = { total: '', lines: 0 };
  if (input === undefined || input instanceof Error) return { ...none, problem: messageOf(input ?? 'not registered') };
  try {
    const { lines, total } = computeInvoice(input);
    return lines.length === 0 ? { ...none, problem } : { total, lines: lines.length, problem };
  } catch (reason) {
    return { ...none, problem: messageOf(reason) };
  }
}

/** Customers that had a plan or a manual line by the period's end, each with its own bounds of it; settled ones are left out. */
async function billedBy(
  store: InvoicingStore,
  name: string,
  after: string,
  limit: number,
): Promise<(CustomerPeriod & { readonly currency: string })[]> {
  // No period ends later than a month and a day behind the month that it is named by.
  const { end } = parsePeriod(name);
  const latestEnd = new Date(Date.UTC(end.getUTCFullYear(), end.getUTCMonth() + 1, 2));
  const { rows } = await sql<{ id: string; currency: string; time_zone: string; anchor_day: number }>`
    SELECT id, currency, time_zone, anchor_day FROM customers
    WHERE id > ${after}
      AND (EXISTS (SELECT FROM subscriptions WHERE customer_id = customers.id AND starts_at < ${latestEnd})
        OR EXISTS (SELECT FROM manual_lines WHERE customer_id = customers.id AND at < ${latestEnd}))
      AND NOT EXISTS (SELECT FROM billing_periods WHERE customer_id = customers.id AND period = ${name} AND settled)
    ORDER BY id LIMIT ${limit}`.execute(store.db);
  return rows.map(({ id, currency, time_zone, anchor_day }) => {
    return { customerId: id, currency, period: periodNamed(name, { timeZone: time_zone, anchorDay: anchor_day }) };
  });
}
