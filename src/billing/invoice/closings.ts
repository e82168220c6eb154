import { type Kysely, sql } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { getCustomer } from '../customers.ts';
import { parsePeriod } from '../period.ts';
import { beginBatch, closeRows } from './close-rows.ts';
import type { InvoicingStore } from './invoicing-store.ts';
import { noteDuePeriods } from './open-periods.ts';

/** Where a customer's period stands. */
export interface Closing {
  readonly customerId: string;
  /** E.g. "2026-09". */
  readonly period: string;
  readonly periodStart: Date;
  /** Exclusive. */
  readonly periodEnd: Date;
  /** Nothing is left to do. */
  readonly settled: boolean;
  /** A UUID; `undefined` where there is none. */
  readonly invoiceId: string | undefined;
  /** Failed tries since the last success, and why the last one did. */
  readonly failures: number;
  readonly failure: string;
  readonly failedAt: Date | undefined;
}

export interface ClosingFilter {
  readonly period?: string | undefined;
  readonly customerId?: string | undefined;
  readonly failedOnly?: boolean;
  readonly openOnly?: boolean;
}

/**
 * Closes one customer's period now, as a run over the period would. Where that fails, the closing says why.
 * @throws CallerFault invalid_argument; not_found where the customer is not registered; failed_precondition where the period
 *   is not over, or nothing was ever to be billed by its end
 */
export async function closeCustomer(
  store: InvoicingStore,
  customerId: string,
  name: string,
  signal: AbortSignal,
): Promise<Closing> {
  parsePeriod(name);
  await getCustomer(store.db, customerId);
  await noteDuePeriods(store, signal, customerId);
  const [closing] = await listClosings(store.db, { period: name, customerId }, undefined, 1);
  if (closing === undefined) {
    const now = new Date(store.clock.nowMs()).toISOString();
    const message = `period: ${name} of customer "${customerId}" is not over at ${now}, or before its first plan`;
    throw new CallerFault('failed_precondition', 'period', message);
  }
  if (closing.settled) return closing;
  const row = { customerId, period: { name, start: closing.periodStart, end: closing.periodEnd } };
  await closeRows(store, [row], beginBatch(store, [row], signal), signal);
  const [after] = await listClosings(store.db, { period: name, customerId }, undefined, 1);
  return after ?? closing;
}

/** By period, then customer; those behind `after` where it is given. */
export async function listClosings(
  db: Kysely<Database>,
  { period, customerId, failedOnly, openOnly }: ClosingFilter,
  after: Pick<Closing, 'period' | 'customerId'> | undefined,
  limit: number,
): Promise<Closing[]> {
  let query = db
    .selectFrom('billing_periods as row')
    .leftJoin('invoices', (join) =>
      join
        .onRef('invoices.customer_id', '=', 'row.customer_id')
        .onRef('invoices.period_start', '=', 'row.period_start')
        .on('invoices.state', '<>', 'void'),
    )
    .selectAll('row')
    .select('invoices.id as invoice_id')
    .orderBy('row.period')
    .orderBy('row.customer_id')
    .limit(limit);
  if (period !== undefined) query = query.where('row.period', '=', period);
  if (customerId !== undefined) query = query.where('row.customer_id', '=', customerId);
  if (failedOnly === true) query = query.where('row.failures', '>', 0);
  if (openOnly === true) query = query.where('row.settled', '=', false);
  if (after !== undefined) {
    query = query.where(sql<boolean>`(row.period, row.customer_id) > (${after.period}, ${after.customerId})`);
  }
  return (await query.execute()).map((row) => ({
    customerId: row.customer_id,
    period: row.period,
    periodStart: row.period_start,
    periodEnd: row.period_end,
    settled: row.settled,
    invoiceId: row.invoice_id ?? undefined,
    failures: row.failures,
    failure: row.failure,
    failedAt: row.failed_at ?? undefined,
  }));
}
