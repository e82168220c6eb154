import type { Kysely } from 'kysely';
import { messageOf } from '../../lib/failure.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { appendAudit } from '../../audit/trail.ts';
import { monthsOver, parsePeriod, type Period } from '../period.ts';
import { type BillingStore, lockPrices } from '../store.ts';
import { checkOver, closeCustomer, type InvoicingStore } from './close-customer.ts';

/** What one run over a period did. Customers whose invoice was final before are not counted. */
export interface PeriodOutcome {
  readonly period: string;
  /** Customers whose invoice is final since this run. */
  readonly finals: number;
  readonly drafts: number;
  /** Customers without usage. */
  readonly empty: number;
  readonly failed: number;
  /** Nothing is left to do for this period; `openPeriods` names it no longer. */
  readonly closed: boolean;
}

/** Some customers' invoices could not be made; those of all others were. `errors` has the first ones. */
export class InvoicesFailed extends AggregateError {
  readonly outcome: PeriodOutcome;

  constructor(outcome: PeriodOutcome, failures: readonly CustomerFailure[]) {
    const named = failures.map(({ customerId, reason }) => `"${customerId}": ${messageOf(reason)}`);
    const rest = outcome.failed - failures.length;
    const more = rest > 0 ? `; and ${rest} more` : '';
    super(
      failures.map((failure) => failure.reason),
      `invoices of ${outcome.period}: ${outcome.failed} failed: ${named.join('; ')}${more}`,
    );
    this.name = 'InvoicesFailed';
    this.outcome = outcome;
  }
}

interface CustomerFailure {
  readonly customerId: string;
  readonly reason: unknown;
}

const PAGE_ROWS = 500;
/** How many failures are told of one by one; the others are counted. */
const FAILURES_NAMED_MAX = 20;

/**
 * Closes a month for every customer that had a subscription in it. May be run again, and by several processes at once.
 * @param name e.g. "2026-09"
 * @throws CallerFault invalid_argument where it is no month, failed_precondition where it is not over; InvoicesFailed once
 *   every customer was tried; the signal's reason
 */
export async function closePeriod(store: InvoicingStore, name: string, signal: AbortSignal): Promise<PeriodOutcome> {
  const period = parsePeriod(name);
  checkOver(store, period);
  const subscriptionsBefore = await countSubscriptions(store.db, period);
  const count = { finals: 0, drafts: 0, empty: 0, failed: 0 };
  const failures: CustomerFailure[] = [];
  let settled = true;
  for await (const customerId of openCustomers(store.db, period)) {
    signal.throwIfAborted();
    try {
      const outcome = await closeCustomer(store, customerId, period, signal);
      count[COUNTERS[outcome.invoice]]++;
      settled &&= outcome.settled;
    } catch (reason) {
      // What ends the whole run is no failure of this customer.
      signal.throwIfAborted();
      count.failed++;
      if (failures.length < FAILURES_NAMED_MAX) failures.push({ customerId, reason });
    }
  }
  if (count.failed > 0) throw new InvoicesFailed({ period: name, ...count, closed: false }, failures);
  const closed = settled && (await markClosed(store, period, subscriptionsBefore));
  return { period: name, ...count, closed };
}

/** The months that are over and in which there may be something to bill, oldest first. */
export async function openPeriods(store: BillingStore): Promise<string[]> {
  const { first } = await store.db
    .selectFrom('subscriptions')
    .select((builder) => builder.fn.min('starts_at').as('first'))
    .executeTakeFirstOrThrow();
  // There is none before the first subscription.
  const from = first as Date | null;
  if (from === null) return [];
  const closed = await store.db.selectFrom('closed_periods').select('period').execute();
  const closedNames = new Set(closed.map((row) => row.period));
  const names = monthsOver(from, new Date(store.clock.nowMs())).map((period) => period.name);
  return names.filter((name) => !closedNames.has(name));
}

const COUNTERS = { final: 'finals', draft: 'drafts', none: 'empty' } as const;

/** Subscribed customers without a final invoice, page by page, so that memory does not grow with their number. */
async function* openCustomers(db: Kysely<Database>, period: Period): AsyncGenerator<string> {
  let after = '';
  for (;;) {
    const rows = await db
      .selectFrom('subscriptions')
      .leftJoin('invoices', (join) =>
        join
          .onRef('invoices.customer_id', '=', 'subscriptions.customer_id')
          .on('invoices.period_start', '=', period.start)
          .on('invoices.state', '=', 'final'),
      )
      .select('subscriptions.customer_id')
      .distinct()
      .where('invoices.id', 'is', null)
      .where('subscriptions.starts_at', '<', period.end)
      .where('subscriptions.customer_id', '>', after)
      .orderBy('subscriptions.customer_id')
      .limit(PAGE_ROWS)
      .execute();
    for (const row of rows) {
      yield row.customer_id;
      after = row.customer_id;
    }
    if (rows.length < PAGE_ROWS) return;
  }
}

/** @returns false where somebody subscribed into the period meanwhile, perhaps behind the run's back */
async function markClosed(store: BillingStore, period: Period, subscriptionsBefore: string): Promise<boolean> {
  return store.db.transaction().execute(async (transaction) => {
    await lockPrices(transaction);
    if ((await countSubscriptions(transaction, period)) !== subscriptionsBefore) return false;
    const at = new Date(store.clock.nowMs());
    const inserted = await transaction
      .insertInto('closed_periods')
      .values({ period: period.name, period_end: period.end, closed_at: at })
      .onConflict((conflict) => conflict.doNothing())
      .returning('period')
      .executeTakeFirst();
    if (inserted !== undefined) {
      const entry = { at, actor: 'meterd', action: 'period.closed', subject: period.name, detail: {} };
      await appendAudit(transaction, entry);
    }
    return true;
  });
}

/** Subscriptions are never changed or removed, so that the same number means the same ones. */
async function countSubscriptions(db: Kysely<Database>, period: Period): Promise<string> {
  const { count } = await db
    .selectFrom('subscriptions')
    .select((builder) => builder.fn.countAll<string>().as('count'))
    .where('starts_at', '<', period.end)
    .executeTakeFirstOrThrow();
  return count;
}
