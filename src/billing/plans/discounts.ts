import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import { z } from 'zod';
import { CallerFault } from '../../lib/failure.ts';
import { parseId } from '../../lib/identifier.ts';
import type { MoneyTables } from '../../storage/postgres/schema-money.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { appendAudit } from '../../audit/trail.ts';
import { getActiveCustomer } from '../customers.ts';
import { checkInstant } from '../period.ts';
import { discountCodec } from '../rating/content-json.ts';
import type { DiscountTerms } from '../rating/plan-content.ts';
import { type BillingStore, lockPrices } from '../store.ts';
import { type DiscountTermsText, parseDiscountTerms } from './parse-discount.ts';

/** What a single customer pays less, beside the discounts of its plan. */
export interface CustomerDiscount {
  readonly discountId: string;
  readonly customerId: string;
  readonly terms: DiscountTerms;
  /** Holds for every billing period that starts in `[validFrom, validUntil)`; without `validUntil` it has no end. */
  readonly validFrom: Date;
  readonly validUntil: Date | undefined;
}

export type DiscountRequest = Omit<CustomerDiscount, 'terms'> & { readonly terms: DiscountTermsText };

export interface DiscountFilter {
  readonly customerId?: string | undefined;
  /** The last one of the page before. */
  readonly after?: Pick<CustomerDiscount, 'customerId' | 'discountId'> | undefined;
}

/**
 * The same again answers the same discount.
 * @throws CallerFault invalid_argument; not_found; already_exists where the id is of another discount; failed_precondition
 *   where a final invoice is of a period that it would hold for, or the customer was erased
 */
export async function createDiscount(
  store: BillingStore,
  request: DiscountRequest,
  actor: string,
): Promise<CustomerDiscount> {
  const { discountId, customerId, validFrom, validUntil } = request;
  parseId('discount.discount_id', discountId);
  checkInstant('discount.valid_from', validFrom);
  if (validUntil !== undefined) checkEnd('discount.valid_until', validFrom, validUntil);
  const wanted = { ...request, terms: parseDiscountTerms('discount.terms', request.terms) };
  return store.db.transaction().execute(async (transaction) => {
    await lockPrices(transaction);
    await getActiveCustomer(transaction, customerId);
    const existing = await findDiscount(transaction, discountId);
    if (existing !== undefined) return sameDiscount(existing, wanted);
    await checkChangesNoFinalInvoice(transaction, customerId, 'discount.valid_from', validFrom, validUntil);
    const at = new Date(store.clock.nowMs());
    const terms = JSON.stringify(z.encode(discountCodec, wanted.terms));
    await transaction
      .insertInto('discounts')
      .values({
        id: discountId,
        customer_id: customerId,
        terms,
        valid_from: validFrom,
        valid_until: validUntil ?? null,
        created_at: at,
      })
      .execute();
    const detail = { discount_id: discountId, terms, ...validity(wanted) };
    await appendAudit(transaction, { at, actor, action: 'discount.created', subject: customerId, detail });
    return wanted;
  });
}

/**
 * Ends a discount that has no end, or a later one. The same again answers the same discount.
 * @throws CallerFault invalid_argument; not_found; failed_precondition where it ends earlier, or a final invoice is of a
 *   period that it would no longer hold for
 */
export async function endDiscount(
  store: BillingStore,
  request: { readonly discountId: string; readonly validUntil: Date },
  actor: string,
): Promise<CustomerDiscount> {
  const { discountId, validUntil } = request;
  return store.db.transaction().execute(async (transaction) => {
    await lockPrices(transaction);
    const existing = await findDiscount(transaction, discountId);
    if (existing === undefined) {
      const message = `discount_id: there is no discount ${JSON.stringify(discountId.slice(0, 200))}`;
      throw new CallerFault('not_found', 'discount_id', message);
    }
    if (existing.validUntil?.getTime() === validUntil.getTime()) return existing;
    checkEnd('valid_until', existing.validFrom, validUntil);
    if (existing.validUntil !== undefined && existing.validUntil < validUntil) {
      const message = `valid_until: discount "${discountId}" ends at ${existing.validUntil.toISOString()} already`;
      throw new CallerFault('failed_precondition', 'valid_until', message);
    }
    const { customerId } = existing;
    await checkChangesNoFinalInvoice(transaction, customerId, 'valid_until', validUntil, existing.validUntil);
    await transaction.updateTable('discounts').set({ valid_until: validUntil }).where('id', '=', discountId).execute();
    const ended = { ...existing, validUntil };
    const at = new Date(store.clock.nowMs());
    const detail = { discount_id: discountId, ...validity(ended) };
    await appendAudit(transaction, { at, actor, action: 'discount.ended', subject: customerId, detail });
    return ended;
  });
}

/** By customer, then id. */
export async function listDiscounts(
  db: Kysely<Database>,
  { customerId, after }: DiscountFilter,
  limit: number,
): Promise<CustomerDiscount[]> {
  let query = db.selectFrom('discounts').selectAll().orderBy('customer_id').orderBy('id').limit(limit);
  if (customerId !== undefined) query = query.where('customer_id', '=', customerId);
  if (after !== undefined) {
    query = query.where(sql<boolean>`(customer_id, id) > (${after.customerId}, ${after.discountId})`);
  }
  return (await query.execute()).map(toDiscount);
}

/** Every discount of these customers, by customer, in order of their ids. */
export async function readDiscounts(
  db: Kysely<Database>,
  customerIds: readonly string[],
): Promise<ReadonlyMap<string, readonly CustomerDiscount[]>> {
  const rows = await db
    .selectFrom('discounts')
    .selectAll()
    .where(sql<boolean>`customer_id = ANY(${customerIds})`)
    .orderBy('id')
    .execute();
  return Map.groupBy(rows.map(toDiscount), ({ customerId }) => customerId);
}

function checkEnd(field: string, validFrom: Date, validUntil: Date): void {
  checkInstant(field, validUntil);
  if (validUntil > validFrom) return;
  const message = `${field}: ${validUntil.toISOString()} is not after ${validFrom.toISOString()}, where the discount begins`;
  throw new CallerFault('invalid_argument', field, message);
}

/** A discount holds for whole periods: those that start from `from` to before `until`. */
async function checkChangesNoFinalInvoice(
  transaction: Transaction<Database>,
  customerId: string,
  field: string,
  from: Date,
  until: Date | undefined,
): Promise<void> {
  let query = transaction
    .selectFrom('invoices')
    .select(['number', 'period_start'])
    .where('customer_id', '=', customerId)
    .where('state', 'in', ['final', 'paid'])
    .where('period_start', '>=', from);
  if (until !== undefined) query = query.where('period_start', '<', until);
  const invoice = await query.orderBy('period_start').limit(1).executeTakeFirst();
  if (invoice === undefined) return;
  const message = `${field}: ${from.toISOString()} would change the final invoice ${invoice.number}, whose period starts at ${invoice.period_start.toISOString()}`;
  throw new CallerFault('failed_precondition', field, message);
}

async function findDiscount(db: Kysely<Database>, discountId: string): Promise<CustomerDiscount | undefined> {
  const row = await db.selectFrom('discounts').selectAll().where('id', '=', discountId).executeTakeFirst();
  return row === undefined ? undefined : toDiscount(row);
}

function sameDiscount(existing: CustomerDiscount, wanted: CustomerDiscount): CustomerDiscount {
  if (keyOf(existing) === keyOf(wanted)) return existing;
  const message = `discount.discount_id: discount "${existing.discountId}" is there with other terms`;
  throw new CallerFault('already_exists', 'discount.discount_id', message);
}

function keyOf({ customerId, terms, validFrom, validUntil }: CustomerDiscount): string {
  return JSON.stringify([customerId, z.encode(discountCodec, terms), validFrom, validUntil]);
}

function validity({ validFrom, validUntil }: Pick<CustomerDiscount, 'validFrom' | 'validUntil'>) {
  return { valid_from: validFrom.toISOString(), valid_until: validUntil?.toISOString() ?? null };
}

function toDiscount(row: Selectable<MoneyTables['discounts']>): CustomerDiscount {
  const { id: discountId, customer_id: customerId, valid_from: validFrom, valid_until } = row;
  const terms = z.parse(discountCodec, row.terms);
  return { discountId, customerId, terms, validFrom, validUntil: valid_until ?? undefined };
}
