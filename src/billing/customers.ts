import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import { CallerFault } from '../lib/failure.ts';
import { parseCustomerId, parseId } from '../lib/identifier.ts';
import type { CustomersTable } from '../storage/postgres/schema-billing.ts';
import type { Database } from '../storage/postgres/schema.ts';
import { appendAudit } from '../audit/trail.ts';
import {
  type BillingDetails,
  detailColumns,
  detailsOf,
  NO_DETAILS,
  parseDetails,
  sameDetails,
} from './billing-details.ts';
import { type Calendar, parseTimeZone } from './calendar.ts';
import { minorUnits } from './currencies.ts';
import { type BillingStore, lockPrices } from './store.ts';

/** Somebody who is billed, in one currency. */
export interface Customer extends Calendar {
  readonly customerId: string;
  readonly name: string;
  /** ISO 4217. */
  readonly currency: string;
  readonly details: BillingDetails;
  readonly createdAt: Date;
  readonly erasedAt: Date | undefined;
}

/** What may be said of a customer later too; what is left out, or empty, is not said. */
interface CustomerChange {
  /** IANA. */
  readonly timeZone?: string;
  /** 1 to 31; 0 says nothing. */
  readonly anchorDay?: number;
  readonly details?: BillingDetails | undefined;
}

export interface CustomerRequest extends Pick<Customer, 'customerId' | 'name' | 'currency'>, CustomerChange {}

export interface CustomerUpdate extends CustomerChange {
  readonly customerId: string;
  readonly name?: string;
}

const NAME_BYTES_MAX = 400;
const ANCHOR_DAY_MAX = 31;

/**
 * Registers a customer. The same request again answers the same customer and changes nothing.
 * @throws CallerFault invalid_argument; already_exists where the id is registered with something else
 */
export async function createCustomer(store: BillingStore, request: CustomerRequest, actor: string): Promise<Customer> {
  const { customerId, name, currency } = request;
  parseCustomerId('customer_id', customerId);
  parseId('name', name, NAME_BYTES_MAX);
  minorUnits(currency);
  const wanted = {
    customerId,
    name,
    currency,
    timeZone: timeZoneOf(request) ?? 'UTC',
    anchorDay: anchorDayOf(request) ?? 1,
    details: request.details === undefined ? NO_DETAILS : parseDetails(request.details, name),
  };
  return store.db.transaction().execute(async (transaction) => {
    const at = new Date(store.clock.nowMs());
    const { timeZone, anchorDay, details } = wanted;
    const columns = { time_zone: timeZone, anchor_day: anchorDay, ...detailColumns(details) };
    const inserted = await transaction
      .insertInto('customers')
      .values({ id: customerId, name, currency, created_at: at, ...columns })
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .executeTakeFirst();
    if (inserted === undefined) return sameCustomer(await getCustomer(transaction, customerId), wanted);
    const detail = { name, currency, time_zone: timeZone, anchor_day: anchorDay };
    await appendAudit(transaction, { at, actor, action: 'customer.created', subject: customerId, detail });
    return toCustomer(inserted);
  });
}

/**
 * Changes what is said on invoices from the next one on. What is left out stays; `details` are replaced as a whole. The time
 * zone and anchor change only while nothing was invoiced: a change would leave a crooked period in between.
 * @throws CallerFault invalid_argument; not_found; failed_precondition where there is an invoice, or the customer was erased
 */
export async function updateCustomer(store: BillingStore, request: CustomerUpdate, actor: string): Promise<Customer> {
  const { customerId } = request;
  if (request.name) parseId('name', request.name, NAME_BYTES_MAX);
  return store.db.transaction().execute(async (transaction) => {
    await lockPrices(transaction);
    const before = await getActiveCustomer(transaction, customerId);
    const name = request.name || before.name;
    const timeZone = timeZoneOf(request) ?? before.timeZone;
    const anchorDay = anchorDayOf(request) ?? before.anchorDay;
    const details = request.details === undefined ? before.details : parseDetails(request.details, name);
    const changed = changesOf(before, { name, timeZone, anchorDay, details });
    if (changed.length === 0) return before;
    if (changed.includes('time_zone') || changed.includes('anchor_day')) await moveCalendar(transaction, customerId);
    const after = await transaction
      .updateTable('customers')
      .set({ name, time_zone: timeZone, anchor_day: anchorDay, ...detailColumns(details) })
      .where('id', '=', customerId)
      .returningAll()
      .executeTakeFirstOrThrow();
    // Without the values: the trail is kept when a customer is erased.
    const detail = { changed, time_zone: timeZone, anchor_day: anchorDay };
    const at = new Date(store.clock.nowMs());
    await appendAudit(transaction, { at, actor, action: 'customer.updated', subject: customerId, detail });
    return toCustomer(after);
  });
}

/** @throws CallerFault not_found */
export async function getCustomer(db: Kysely<Database>, customerId: string): Promise<Customer> {
  const row = await db.selectFrom('customers').selectAll().where('id', '=', customerId).executeTakeFirst();
  if (row === undefined) {
    const message = `customer_id: ${JSON.stringify(customerId)} is not registered`;
    throw new CallerFault('not_found', 'customer_id', message);
  }
  return toCustomer(row);
}

/**
 * One that something may still be agreed with. Erasing begins under the prices' lock: whoever holds it is in time.
 * @throws CallerFault not_found; failed_precondition where it was erased, or is being so
 */
export async function getActiveCustomer(db: Kysely<Database>, customerId: string): Promise<Customer> {
  const customer = await getCustomer(db, customerId);
  const refused = (problem: string): CallerFault => {
    return new CallerFault('failed_precondition', 'customer_id', `customer_id: "${customerId}" ${problem}`);
  };
  if (customer.erasedAt !== undefined) throw refused(`was erased at ${customer.erasedAt.toISOString()}`);
  const erasing = await db
    .selectFrom('erasures')
    .select('requested_at')
    .where('customer_id', '=', customerId)
    .where('completed_at', 'is', null)
    .executeTakeFirst();
  if (erasing !== undefined) throw refused(`is being erased since ${erasing.requested_at.toISOString()}`);
  return customer;
}

/** By id, those behind `after` only; '' is before the first. */
export async function listCustomers(db: Kysely<Database>, after: string, limit: number): Promise<Customer[]> {
  const rows = await db
    .selectFrom('customers')
    .selectAll()
    .where('id', '>', after)
    .orderBy('id')
    .limit(limit)
    .execute();
  return rows.map(toCustomer);
}

/** Which of these are registered: for telling the others, which have usage all the same. */
export async function registeredAmong(db: Kysely<Database>, customerIds: readonly string[]): Promise<Set<string>> {
  if (customerIds.length === 0) return new Set();
  const rows = await db
    .selectFrom('customers')
    .select('id')
    .where(sql<boolean>`id = ANY(${customerIds})`)
    .execute();
  return new Set(rows.map((row) => row.id));
}

function timeZoneOf({ timeZone = '' }: CustomerChange): string | undefined {
  return timeZone === '' ? undefined : parseTimeZone('time_zone', timeZone);
}

function anchorDayOf({ anchorDay = 0 }: CustomerChange): number | undefined {
  if (anchorDay === 0) return undefined;
  if (anchorDay >= 1 && anchorDay <= ANCHOR_DAY_MAX) return anchorDay;
  const message = `anchor_day: ${anchorDay} is not from 1 to ${ANCHOR_DAY_MAX}`;
  throw new CallerFault('invalid_argument', 'anchor_day', message);
}

type Described = Pick<Customer, 'name' | 'timeZone' | 'anchorDay' | 'details'>;

function changesOf(before: Described, after: Described): string[] {
  const changes = {
    name: before.name !== after.name,
    time_zone: before.timeZone !== after.timeZone,
    anchor_day: before.anchorDay !== after.anchorDay,
    details: !sameDetails(before.details, after.details),
  };
  return Object.entries(changes).flatMap(([field, changed]) => (changed ? [field] : []));
}

/** The periods that were noted as work to do have other bounds from now on; closing notes them anew. */
async function moveCalendar(transaction: Transaction<Database>, customerId: string): Promise<void> {
  // First of all, since it waits for whoever has one of them under way: a draft that comes of it is then seen.
  await transaction.deleteFrom('billing_periods').where('customer_id', '=', customerId).execute();
  const invoice = await transaction
    .selectFrom('invoices')
    .select(['state', 'period'])
    .where('customer_id', '=', customerId)
    .limit(1)
    .executeTakeFirst();
  if (invoice !== undefined) {
    const message = `time_zone: customer "${customerId}" has a ${invoice.state} invoice of ${invoice.period}: neither its time zone nor its anchor day can change`;
    throw new CallerFault('failed_precondition', 'time_zone', message);
  }
}

function sameCustomer(existing: Customer, wanted: Omit<Customer, 'createdAt' | 'erasedAt'>): Customer {
  for (const field of ['name', 'currency', 'timeZone', 'anchorDay'] as const) {
    if (existing[field] !== wanted[field]) throw registered(existing, FIELDS[field], existing[field], wanted[field]);
  }
  if (sameDetails(existing.details, wanted.details)) return existing;
  throw registered(existing, 'details', 'others', 'these');
}

const FIELDS = { name: 'name', currency: 'currency', timeZone: 'time_zone', anchorDay: 'anchor_day' } as const;

function registered(existing: Customer, field: string, has: string | number, wanted: string | number): CallerFault {
  const message = `${field}: customer "${existing.customerId}" is registered with "${has}", not "${wanted}"`;
  return new CallerFault('already_exists', field, message);
}

function toCustomer(row: Selectable<CustomersTable>): Customer {
  return {
    customerId: row.id,
    name: row.name,
    currency: row.currency,
    timeZone: row.time_zone,
    anchorDay: row.anchor_day,
    details: detailsOf(row),
    createdAt: row.created_at,
    erasedAt: row.erased_at ?? undefined,
  };
}
