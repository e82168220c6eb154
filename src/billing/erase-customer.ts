import { randomUUIDv7 } from 'node:crypto';
import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import { appendAudit } from '../audit/trail.ts';
import { CallerFault, codeOf, NotNow } from '../lib/failure.ts';
import { parseCustomerId, parseId } from '../lib/identifier.ts';
import { withTransactionLock } from '../storage/postgres/advisory-lock.ts';
import type { Database } from '../storage/postgres/schema.ts';
import { detailColumns, NO_DETAILS } from './billing-details.ts';
import { periodAt } from './calendar.ts';
import { type Customer, getCustomer, registeredAmong } from './customers.ts';
import { listManualLines } from './invoice/manual-lines.ts';
import { noteDuePeriods } from './invoice/open-periods.ts';
import { REASON_BYTES_MAX } from './invoice/void-invoice.ts';
import { receivableOf } from './ledger/accounts.ts';
import { type BillingStore, lockPrices } from './store.ts';

/** What was removed of a customer and what was kept. */
export interface ErasureReceipt {
  readonly erasureId: string;
  readonly customerId: string;
  readonly reason: string;
  readonly requestedBy: string;
  readonly requestedAt: Date;
  /** `undefined` while it is under way. */
  readonly completedAt: Date | undefined;
  /** Rows by table, as they were when it was asked for; copies of a window that are not merged yet count too. */
  readonly removed: Readonly<Record<string, number>>;
  readonly kept: Readonly<Record<string, number>>;
}

export interface ErasureRequest {
  readonly customerId: string;
  readonly reason: string;
}

export interface EraseStore extends BillingStore {
  /** Rows of usage by table; only those tables that have any. */
  readonly countUsage: (customerId: string, signal: AbortSignal) => Promise<Record<string, number>>;
  /** @param rollupEnded resolves when a rollup that runs now has ended */
  readonly eraseUsage: (customerId: string, rollupEnded: () => Promise<void>, signal: AbortSignal) => Promise<void>;
  /** @returns the ids of the customer's keys, which are gone with the transaction */
  readonly eraseKeys: (transaction: Transaction<Database>, customerId: string) => Promise<string[]>;
  /** @returns how many secrets the customer had */
  readonly eraseSecrets: (transaction: Transaction<Database>, customerId: string) => Promise<number>;
}

/** The job's lock, as the scheduler takes it. */
const ROLLUP_LOCK = 'meterd.job.rollup';
const ROLLUP_RETRY_MS = 60_000;
/** Postgres ended a statement, here the wait for a lock, after its time. */
const STATEMENT_ENDED = '57014';

/**
 * Removes a customer's usage, keys, discounts and names; keeps what the law wants kept. It goes on where an erasure that did
 * not come to its end was left. Where a customer was erased and nothing came since, it answers the receipt of then.
 * @throws CallerFault invalid_argument; not_found; failed_precondition while a plan holds or a period is not settled;
 *   NotNow while the rollup runs; what the engines report
 */
export async function eraseCustomer(
  store: EraseStore,
  request: ErasureRequest,
  actor: string,
  signal: AbortSignal,
): Promise<ErasureReceipt> {
  const { customerId, reason } = request;
  parseCustomerId('customer_id', customerId);
  parseId('reason', reason, REASON_BYTES_MAX);
  await noteDuePeriods(store, signal, customerId);
  const usage = await store.countUsage(customerId, signal);
  const receipt = await begin(store, request, actor, usage);
  if (receipt.completedAt !== undefined) return receipt;
  await store.eraseUsage(customerId, () => rollupEnded(store.db), signal);
  return complete(store, receipt, actor);
}

async function rollupEnded(db: Kysely<Database>): Promise<void> {
  try {
    await db.transaction().execute((transaction) => withTransactionLock(transaction, ROLLUP_LOCK));
  } catch (reason) {
    if (codeOf(reason) !== STATEMENT_ENDED) throw reason;
    throw new NotNow('unavailable', ROLLUP_RETRY_MS, 'the rollup is running: call again to go on with the erasure');
  }
}

/** Newest first, those before `beforeId` only. */
export async function listErasures(
  db: Kysely<Database>,
  beforeId: string | undefined,
  limit: number,
): Promise<ErasureReceipt[]> {
  let query = db.selectFrom('erasures').selectAll().orderBy('id', 'desc').limit(limit);
  if (beforeId !== undefined) query = query.where('id', '<', beforeId);
  return (await query.execute()).map(toReceipt);
}

/** @param usage rows that are there now */
async function begin(
  { db, clock }: EraseStore,
  { customerId, reason }: ErasureRequest,
  actor: string,
  usage: Readonly<Record<string, number>>,
): Promise<ErasureReceipt> {
  return db.transaction().execute(async (transaction) => {
    // Nobody subscribes the customer meanwhile, nor begins to erase it.
    await lockPrices(transaction);
    const last = await lastErasure(transaction, customerId);
    if (last?.completedAt === null) return toReceipt(last.row);
    const hasUsage = Object.keys(usage).length > 0;
    const registered = await registeredAmong(transaction, [customerId]);
    const customer = registered.has(customerId) ? await getCustomer(transaction, customerId) : undefined;
    const isErased = last !== undefined && (customer === undefined || customer.erasedAt !== undefined);
    if (isErased && !hasUsage) return toReceipt(last.row);
    if (customer === undefined && !hasUsage) {
      const message = `customer_id: "${customerId}" is not registered and has no usage`;
      throw new CallerFault('not_found', 'customer_id', message);
    }
    const at = new Date(clock.nowMs());
    if (customer !== undefined) await checkSettled(transaction, customer, at);
    const row = await transaction
      .insertInto('erasures')
      .values({
        id: randomUUIDv7(),
        customer_id: customerId,
        reason,
        requested_by: actor,
        requested_at: at,
        completed_at: null,
        removed: JSON.stringify(usage),
        kept: '{}',
      })
      .returningAll()
      .executeTakeFirstOrThrow();
    const detail = { erasure_id: row.id };
    await appendAudit(transaction, { at, actor, action: 'erasure.requested', subject: customerId, detail });
    return toReceipt(row);
  });
}

async function lastErasure(transaction: Transaction<Database>, customerId: string) {
  const row = await transaction
    .selectFrom('erasures')
    .selectAll()
    .where('customer_id', '=', customerId)
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row === undefined ? undefined : { row, completedAt: row.completed_at };
}

/** @throws CallerFault failed_precondition where something is still to be billed */
async function checkSettled(transaction: Transaction<Database>, customer: Customer, now: Date): Promise<void> {
  const { customerId } = customer;
  const running = periodAt(now, customer);
  const [line] = await listManualLines(transaction, customerId, undefined, 1);
  const { rows } = await sql<{ plan: boolean; period: string | null }>`SELECT
    EXISTS (SELECT FROM subscriptions WHERE customer_id = ${customerId} AND starts_at > ${running.start})
      OR coalesce((SELECT plan_id <> '' FROM subscriptions WHERE customer_id = ${customerId}
        ORDER BY starts_at DESC LIMIT 1), false) AS plan,
    (SELECT min(period) FROM billing_periods WHERE customer_id = ${customerId} AND NOT settled) AS period`.execute(
    transaction,
  );
  const [open] = rows;
  const refused = (why: string): CallerFault => {
    return new CallerFault('failed_precondition', 'customer_id', `customer_id: "${customerId}" ${why}`);
  };
  if (open?.plan) {
    throw refused(
      `has, or had after ${running.start.toISOString()}, a plan: end its subscription, and let the period end`,
    );
  }
  if (line !== undefined) throw refused(`has a manual line that is not billed yet`);
  if (typeof open?.period === 'string') throw refused(`has a period that is not settled, ${open.period}`);
}

async function complete(store: EraseStore, receipt: ErasureReceipt, actor: string): Promise<ErasureReceipt> {
  const { erasureId, customerId } = receipt;
  return store.db.transaction().execute(async (transaction) => {
    const at = new Date(store.clock.nowMs());
    const keys = await store.eraseKeys(transaction, customerId);
    const secrets = await store.eraseSecrets(transaction, customerId);
    const discounts = await transaction
      .deleteFrom('discounts')
      .where('customer_id', '=', customerId)
      .executeTakeFirstOrThrow();
    const names = await transaction
      .updateTable('customers')
      .set({ name: '', erased_at: at, ...detailColumns(NO_DETAILS) })
      .where('id', '=', customerId)
      .where('erased_at', 'is', null)
      .executeTakeFirstOrThrow();
    const removed = {
      ...receipt.removed,
      ...above0({
        api_keys: keys.length,
        secrets,
        discounts: Number(discounts.numDeletedRows),
        'names in customers': Number(names.numUpdatedRows),
      }),
    };
    const kept = await countKept(transaction, customerId);
    const row = await transaction
      .updateTable('erasures')
      .set({ completed_at: at, removed: JSON.stringify(removed), kept: JSON.stringify(kept) })
      .where('id', '=', erasureId)
      .returningAll()
      .executeTakeFirstOrThrow();
    const detail = { erasure_id: erasureId, keys };
    await appendAudit(transaction, { at, actor, action: 'customer.erased', subject: customerId, detail });
    return toReceipt(row);
  });
}

/** Rows by table of what stays; only those tables that have any. */
async function countKept(
  transaction: Transaction<Database>,
  customerId: string,
): Promise<Readonly<Record<string, number>>> {
  const { rows } = await sql<{ name: string; rows: string }>`
    SELECT 'invoices' AS name, count(*) AS rows FROM invoices WHERE customer_id = ${customerId}
    UNION ALL SELECT 'credit_notes', count(*) FROM credit_notes WHERE customer_id = ${customerId}
    UNION ALL SELECT 'payments', count(*) FROM payments JOIN invoices ON invoices.id = invoice_id
      WHERE customer_id = ${customerId}
    UNION ALL SELECT 'manual_lines', count(*) FROM manual_lines WHERE customer_id = ${customerId}
    UNION ALL SELECT 'subscriptions', count(*) FROM subscriptions WHERE customer_id = ${customerId}
    UNION ALL SELECT 'ledger_postings', count(*) FROM ledger_postings WHERE account_id = ${receivableOf(customerId)}
    UNION ALL SELECT 'audit_records', count(*) FROM audit_records WHERE subject = ${customerId}`.execute(transaction);
  return above0(Object.fromEntries(rows.map((row) => [row.name, Number(row.rows)])));
}

function above0(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, rows]) => rows > 0));
}

function toReceipt(row: Selectable<Database['erasures']>): ErasureReceipt {
  return {
    erasureId: row.id,
    customerId: row.customer_id,
    reason: row.reason,
    requestedBy: row.requested_by,
    requestedAt: row.requested_at,
    completedAt: row.completed_at ?? undefined,
    removed: row.removed,
    kept: row.kept,
  };
}
