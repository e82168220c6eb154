import { sql } from 'kysely';
import { isOneOf } from './close-batch.ts';
import { lookBack } from './history.ts';
import type { InvoicingStore } from './invoicing-store.ts';
import { type CustomerPeriod, earliestStart } from './read-inputs.ts';
import { seenUntilNanos, toNanos } from './usage-request.ts';

/**
 * Opens the periods again in which these customers had nothing to bill, and have usage that came since: each gets an invoice
 * of its own. (Where there is an invoice, the next one adjusts it.)
 * @param rows of different customers; periods before theirs are looked at
 */
export async function reopenEmptyPeriods(
  store: InvoicingStore,
  rows: readonly CustomerPeriod[],
  signal: AbortSignal,
): Promise<void> {
  const empty = await emptyPeriods(store, rows);
  if (empty.length === 0) return;
  const requests = empty.map(({ customerId, period, computedAt }) => ({
    customerId,
    startNanos: toNanos(period.start),
    endNanos: toNanos(period.end),
    sinceNanos: computedAt === undefined ? 0n : seenUntilNanos(computedAt),
  }));
  const changed = await store.usage.changedSince(requests, signal);
  const late = empty.filter((_, index) => changed[index] === true);
  if (late.length === 0) return;
  await store.db.updateTable('billing_periods').set({ settled: false }).where(isOneOf(late)).execute();
}

type EmptyPeriod = CustomerPeriod & { readonly computedAt: Date | undefined };

/** Settled ones without an invoice, as far back as adjustments look. */
async function emptyPeriods({ db }: InvoicingStore, rows: readonly CustomerPeriod[]): Promise<EmptyPeriod[]> {
  if (rows.length === 0) return [];
  const starts = new Map(rows.map(({ customerId, period }) => [customerId, period.start]));
  const found = await db
    .selectFrom('billing_periods as row')
    .select(['customer_id', 'period', 'period_start', 'period_end', 'computed_at'])
    .where(sql<boolean>`customer_id = ANY(${[...starts.keys()]}::text[])`)
    .where('settled', '=', true)
    .where('period_end', '>', lookBack(earliestStart(rows)))
    .where(
      sql<boolean>`NOT EXISTS (SELECT FROM invoices WHERE invoices.customer_id = row.customer_id
        AND invoices.period_start = row.period_start AND state <> 'void')`,
    )
    .execute();
  return found.flatMap((row) => {
    const before = starts.get(row.customer_id);
    if (before === undefined || row.period_start >= before) return [];
    const period = { name: row.period, start: row.period_start, end: row.period_end };
    return [{ customerId: row.customer_id, period, computedAt: row.computed_at ?? undefined }];
  });
}
