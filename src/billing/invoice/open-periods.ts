import { type Kysely, sql, type Transaction } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import { insertRows, type NewRow } from '../../storage/postgres/insert-rows.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { type Calendar, periodAfter, periodAt, periodNamed } from '../calendar.ts';
import { type BillingStore, lockPrices } from '../store.ts';
import type { BillingPeriod } from './invoice-input.ts';
import type { CustomerPeriod } from './read-inputs.ts';

/** The work of closing: a row per customer and period that is over, open until it is settled. */

const PAGE_ROWS = 1000;
/** No billing period is shorter: February, with an hour or a day that its time zone leaves out. */
const PERIOD_MS_MIN = 27 * 86_400_000;
/** `first`: from when there is something to bill of a customer; null where there never was. */
const withFirstBilled = sql`CROSS JOIN LATERAL (SELECT least(
  (SELECT min(starts_at) FROM subscriptions WHERE customer_id = customers.id),
  (SELECT min(at) FROM manual_lines WHERE customer_id = customers.id)) AS first) AS billed`;

/**
 * Notes the periods that are over since the last time, of every customer that ever had a plan or a manual line, or of one.
 * @param customerId all of them where left out
 */
export async function noteDuePeriods(store: BillingStore, signal: AbortSignal, customerId?: string): Promise<void> {
  const now = new Date(store.clock.nowMs());
  for (let after = ''; ;) {
    signal.throwIfAborted();
    const page = await billedCustomers(store.db, now, after, customerId);
    if (page.length > 0) {
      await store.db.transaction().execute(async (transaction) => {
        // No calendar moves from here on: periods of the old one beside those of the new one would be billed twice.
        await lockPrices(transaction);
        await notePeriods(transaction, await billedCustomers(transaction, now, after, customerId), now);
      });
    }
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE_ROWS) return;
    after = last.id;
  }
}

async function notePeriods(
  transaction: Transaction<Database>,
  customers: readonly BilledCustomer[],
  now: Date,
): Promise<void> {
  const rows = customers.flatMap((customer) => duePeriods(customer, now).map((period) => toRow(customer.id, period)));
  // The open periods of a customer that is new here may be many: some hundred months, page by page.
  for (let from = 0; from < rows.length; from += 10 * PAGE_ROWS) {
    const some = rows.slice(from, from + 10 * PAGE_ROWS);
    await insertRows(transaction, 'billing_periods', some, { skipExisting: true });
  }
}

/** The names of periods that somebody's row is open of, oldest first. */
export async function openPeriods(store: BillingStore): Promise<string[]> {
  await noteDuePeriods(store, AbortSignal.timeout(NOTE_MS_MAX));
  const rows = await store.db
    .selectFrom('billing_periods')
    .select('period')
    .distinct()
    .where('settled', '=', false)
    .orderBy('period')
    .execute();
  return rows.map((row) => row.period);
}

const NOTE_MS_MAX = 60_000;

/** Open rows of this name behind `after`, in order of the customer. */
export async function openPage(
  db: Kysely<Database>,
  name: string,
  after: string,
  limit: number,
): Promise<CustomerPeriod[]> {
  const rows = await db
    .selectFrom('billing_periods')
    .select(['customer_id', 'period_start', 'period_end'])
    .where('period', '=', name)
    .where('settled', '=', false)
    .where('customer_id', '>', after)
    .orderBy('customer_id')
    .limit(limit)
    .execute();
  return rows.map((row) => {
    return { customerId: row.customer_id, period: { name, start: row.period_start, end: row.period_end } };
  });
}

/**
 * Whether the period of this name is still running for some customers, whose time zone or anchor day ends it later.
 * @throws CallerFault failed_precondition where it is over for nobody
 */
export async function isRunningForSome(store: BillingStore, name: string): Promise<boolean> {
  const now = new Date(store.clock.nowMs());
  const { rows } = await sql<{ time_zone: string; anchor_day: number; first: Date }>`
    SELECT time_zone, anchor_day, min(first) AS first FROM customers ${withFirstBilled}
    WHERE erased_at IS NULL AND first IS NOT NULL GROUP BY time_zone, anchor_day`.execute(store.db);
  const calendars = rows.map((row) => {
    const { end } = periodNamed(name, { timeZone: row.time_zone, anchorDay: row.anchor_day });
    return { end, isBilled: row.first < end };
  });
  const billed = calendars.filter((each) => each.isBilled);
  const ends =
    billed.length > 0 ? billed.map(({ end }) => end) : [periodNamed(name, { timeZone: 'UTC', anchorDay: 1 }).end];
  const firstEnd = new Date(Math.min(...ends.map((end) => end.getTime())));
  if (firstEnd > now) {
    const message = `period: ${name} is not over before ${firstEnd.toISOString()}; it is ${now.toISOString()}`;
    throw new CallerFault('failed_precondition', 'period', message);
  }
  return ends.some((end) => end > now);
}

interface BilledCustomer {
  readonly id: string;
  readonly time_zone: string;
  readonly anchor_day: number;
  /** When there was first something to bill. */
  readonly first: Date;
  readonly first_start: Date | null;
  readonly last_end: Date | null;
}

async function billedCustomers(
  db: Kysely<Database>,
  now: Date,
  after: string,
  customerId: string | undefined,
): Promise<BilledCustomer[]> {
  const enough = new Date(now.getTime() - PERIOD_MS_MIN);
  const only = customerId === undefined ? sql`true` : sql`customers.id = ${customerId}`;
  const { rows } = await sql<BilledCustomer>`
    SELECT customers.id, time_zone, anchor_day, first, first_start, last_end FROM customers
    ${withFirstBilled}
    CROSS JOIN LATERAL (SELECT
      (SELECT min(period_start) FROM billing_periods WHERE customer_id = customers.id) AS first_start,
      (SELECT period_end FROM billing_periods WHERE customer_id = customers.id ORDER BY period_start DESC LIMIT 1) AS last_end)
      AS noted
    WHERE customers.id > ${after} AND ${only} AND erased_at IS NULL AND first IS NOT NULL
      AND (last_end IS NULL OR last_end <= ${enough} OR first < first_start)
    ORDER BY customers.id LIMIT ${PAGE_ROWS}`.execute(db);
  return rows;
}

/** From where the noted ones end, or from the first one where a plan or line now lies before them. */
function duePeriods(
  { time_zone, anchor_day, first, first_start, last_end }: BilledCustomer,
  now: Date,
): BillingPeriod[] {
  const calendar: Calendar = { timeZone: time_zone, anchorDay: anchor_day };
  const isBehind = last_end !== null && first_start !== null && first >= first_start;
  const due: BillingPeriod[] = [];
  let period = periodAt(isBehind ? last_end : first, calendar);
  for (; period.end <= now; period = periodAfter(period, calendar)) due.push(period);
  return due;
}

function toRow(customerId: string, period: BillingPeriod): NewRow<'billing_periods'> {
  return {
    customer_id: customerId,
    period_start: period.start,
    period_end: period.end,
    period: period.name,
    settled: false,
    failures: 0,
    failure: '',
    failed_at: null,
    computed_at: null,
  };
}
