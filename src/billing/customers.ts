import type { Kysely, Selectable } from 'kysely';
import { CallerFault } from '../lib/failure.ts';
import { parseCustomerId, parseId } from '../lib/identifier.ts';
import type { CustomersTable } from '../storage/postgres/schema-billing.ts';
import type { Database } from '../storage/postgres/schema.ts';
import { appendAudit } from '../audit/trail.ts';
import { minorUnits } from './currencies.ts';
import type { BillingStore } from './store.ts';

/** Somebody who is billed, in one currency. */
export interface Customer {
  readonly customerId: string;
  readonly name: string;
  /** ISO 4217. */
  readonly currency: string;
  readonly createdAt: Date;
}

export type CustomerRequest = Pick<Customer, 'customerId' | 'name' | 'currency'>;

const NAME_BYTES_MAX = 400;

/**
 * Registers a customer. The same request again answers the same customer and changes nothing.
 * @throws CallerFault invalid_argument; already_exists where the id has another name or currency
 */
export async function createCustomer(store: BillingStore, request: CustomerRequest, actor: string): Promise<Customer> {
  const { customerId, name, currency } = request;
  parseCustomerId('customer_id', customerId);
  parseId('name', name, NAME_BYTES_MAX);
  minorUnits(currency);
  return store.db.transaction().execute(async (transaction) => {
    const at = new Date(store.clock.nowMs());
    const inserted = await transaction
      .insertInto('customers')
      .values({ id: customerId, name, currency, created_at: at })
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .executeTakeFirst();
    if (inserted === undefined) return sameCustomer(await getCustomer(transaction, customerId), request);
    const detail = { name, currency };
    await appendAudit(transaction, { at, actor, action: 'customer.created', subject: customerId, detail });
    return toCustomer(inserted);
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
  const rows = await db.selectFrom('customers').select('id').where('id', 'in', customerIds).execute();
  return new Set(rows.map((row) => row.id));
}

function sameCustomer(existing: Customer, request: CustomerRequest): Customer {
  for (const field of ['name', 'currency'] as const) {
    if (existing[field] === request[field]) continue;
    const message = `${field}: customer "${existing.customerId}" is registered with "${existing[field]}", not "${request[field]}"`;
    throw new CallerFault('already_exists', field, message);
  }
  return existing;
}

function toCustomer(row: Selectable<CustomersTable>): Customer {
  return { customerId: row.id, name: row.name, currency: row.currency, createdAt: row.created_at };
}
