import { sql, type Transaction } from 'kysely';
import { appendAudit, type AuditEntry } from '../../audit/trail.ts';
import { CallerFault } from '../../lib/failure.ts';
import { parseId } from '../../lib/identifier.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { postToLedger } from '../ledger/post.ts';
import { parseDecimal } from '../money.ts';
import { type BillingStore, lockPrices } from '../store.ts';
import { lockOwed, type OwedInvoice } from './amount-due.ts';
import type { Invoice } from './invoice.ts';
import { getInvoice, isUuid } from './read-invoices.ts';
import { finalKey } from './write-invoices.ts';

export interface VoidRequest {
  /** Or its number. */
  readonly invoiceId: string;
  readonly reason: string;
}

export const REASON_BYTES_MAX = 400;

/**
 * Takes a final invoice back whole: its postings are reversed, its number stays used, its period is open again. What is void
 * already stays as it is.
 * @throws CallerFault invalid_argument; not_found; failed_precondition where something was paid or credited, or a later
 *   invoice rests on it
 */
export async function voidInvoice(store: BillingStore, request: VoidRequest, actor: string): Promise<Invoice> {
  const { invoiceId, reason } = request;
  parseId('reason', reason, REASON_BYTES_MAX);
  return store.db.transaction().execute(async (transaction) => {
    // As whoever makes final does: none becomes final that rests on what is being voided.
    await lockPrices(transaction);
    const before = await getInvoice(transaction, invoiceId);
    if (before.state === 'void') return before;
    const at = new Date(store.clock.nowMs());
    await appendAudit(transaction, await voidInTransaction(transaction, request, actor, at));
    return getInvoice(transaction, before.invoiceId);
  });
}

/**
 * The same in the caller's transaction, which holds the prices' lock.
 * @returns the audit record to append
 */
export async function voidInTransaction(
  transaction: Transaction<Database>,
  { invoiceId, reason }: VoidRequest,
  actor: string,
  at: Date,
): Promise<AuditEntry> {
  await lockPeriodOf(transaction, invoiceId);
  const owed = await lockOwed(transaction, invoiceId);
  await checkVoidable(transaction, owed);
  const { row, number } = owed;
  const { customer_id, period_start, currency, total } = row;
  await transaction
    .updateTable('invoices')
    .set({ state: 'void', voided_at: at, void_reason: reason })
    .where('id', '=', row.id)
    .execute();
  await reversePostings(transaction, owed, at);
  await transaction
    .updateTable('billing_periods')
    .set({ settled: false })
    .where('customer_id', '=', customer_id)
    .where('period_start', '=', period_start)
    .execute();
  const detail = { number, customer_id, currency, total, reason };
  return { at, actor, action: 'invoice.voided', subject: row.id, detail };
}

/** The ledger transaction that reverses a void invoice's is found by this key. */
export function voidKey(invoiceId: string): string {
  return `invoice ${invoiceId} void`;
}

/** The period's row before the invoice's: the order in which closing takes them. */
async function lockPeriodOf(transaction: Transaction<Database>, idOrNumber: string): Promise<void> {
  const named = isUuid(idOrNumber) ? sql`invoices.id = ${idOrNumber}` : sql`invoices.number = ${idOrNumber}`;
  await sql`SELECT 1 FROM billing_periods JOIN invoices USING (customer_id, period_start)
    WHERE ${named} FOR UPDATE OF billing_periods`.execute(transaction);
}

async function checkVoidable(transaction: Transaction<Database>, { row, number, paid, credited }: OwedInvoice) {
  const refuse = (problem: string): never => {
    const message = `invoice_id: invoice ${number} cannot be voided: ${problem}; credit it instead`;
    throw new CallerFault('failed_precondition', 'invoice_id', message);
  };
  if (paid.units !== 0n) refuse('it was paid in part or whole');
  if (credited.units !== 0n) refuse('it was credited in part or whole');
  // Of 0 or less: nothing is due, and so nothing can be taken back but by an adjustment.
  if (row.state === 'paid') refuse('nothing is due on it');
  const { rows: adjusting } = await sql<{ number: string }>`SELECT later.number FROM invoice_lines AS line
    JOIN invoices AS later ON later.id = line.invoice_id
    WHERE line.adjusts_invoice_id = ${row.id} AND later.state IN ('final', 'paid') LIMIT 1`.execute(transaction);
  if (adjusting[0] !== undefined) refuse(`invoice ${adjusting[0].number} has adjustments of it`);
  const { rows: following } = await sql<{ number: string }>`SELECT later.number FROM invoices AS later
    WHERE later.customer_id = ${row.customer_id} AND later.state IN ('final', 'paid')
      AND later.period_start >= ${row.period_end}
      AND EXISTS (SELECT FROM invoice_lines AS line
        WHERE line.invoice_id = ${row.id} AND line.kind = 'flat' AND line.starts_at >= ${row.period_end})
    LIMIT 1`.execute(transaction);
  if (following[0] !== undefined) refuse(`invoice ${following[0].number} counts on its fees in advance`);
}

/** Exactly what was posted when it became final, the other way round. */
async function reversePostings(transaction: Transaction<Database>, owed: OwedInvoice, at: Date): Promise<void> {
  const posted = await transaction
    .selectFrom('ledger_postings')
    .innerJoin('ledger_transactions', 'ledger_transactions.id', 'transaction_id')
    .where('idempotency_key', '=', finalKey(owed.row.id))
    .orderBy('position')
    .select(['account_id', 'currency', 'amount'])
    .execute();
  const postings = posted.map(({ account_id, currency, amount }) => {
    const { units, scale } = parseDecimal(amount, 'amount');
    return { account: account_id, currency, amount: { units: -units, scale } };
  });
  const description = `Void invoice ${owed.number}`;
  await postToLedger(transaction, { idempotencyKey: voidKey(owed.row.id), description, postings }, at);
}
