import { type Selectable, sql, type Transaction } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import type { InvoicesTable } from '../../storage/postgres/schema-billing.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { addDecimals, compareDecimals, type Decimal, negate, parseDecimal, ZERO } from '../money.ts';
import { isUuid, noInvoice } from './read-invoices.ts';

/** What may still be paid or credited of an invoice whose row this transaction holds. */
export interface OwedInvoice {
  readonly row: Selectable<InvoicesTable>;
  /** Of final and paid invoices only. */
  readonly number: string;
  readonly total: Decimal;
  readonly paid: Decimal;
  readonly credited: Decimal;
  /** total - credited - paid; below 0 where more was paid than is owed now. */
  readonly due: Decimal;
}

/**
 * Nobody else pays, credits or voids it until the transaction ends.
 * @throws CallerFault not_found; failed_precondition where it is a draft or void
 */
export async function lockOwed(transaction: Transaction<Database>, idOrNumber: string): Promise<OwedInvoice> {
  const row = await transaction
    .selectFrom('invoices')
    .selectAll()
    .where(isUuid(idOrNumber) ? 'id' : 'number', '=', idOrNumber)
    .forUpdate()
    .executeTakeFirst();
  if (row === undefined) throw noInvoice(idOrNumber);
  if (row.number === null || row.state === 'void') {
    const message = `invoice_id: invoice ${row.number ?? row.id} is ${row.state}, neither final nor paid`;
    throw new CallerFault('failed_precondition', 'invoice_id', message);
  }
  const total = parseDecimal(row.total, 'total');
  const paid = await sumOf(
    transaction,
    sql`SELECT sum(CASE WHEN reverses_payment_id IS NULL THEN amount ELSE -amount END) AS sum
      FROM payments WHERE invoice_id = ${row.id}`,
  );
  const credited = await sumOf(
    transaction,
    sql`SELECT sum(total) AS sum FROM credit_notes WHERE invoice_id = ${row.id}`,
  );
  const due = addDecimals(total, negate(addDecimals(paid, credited)));
  return { row, number: row.number, total, paid, credited, due };
}

/** `paid` where nothing is due any more, `final` where something is again. */
export async function updatePaidState(transaction: Transaction<Database>, invoiceId: string): Promise<void> {
  const { row, due } = await lockOwed(transaction, invoiceId);
  const state = compareDecimals(due, ZERO) > 0 ? 'final' : 'paid';
  if (state !== row.state) await transaction.updateTable('invoices').set({ state }).where('id', '=', row.id).execute();
}

async function sumOf(transaction: Transaction<Database>, query: ReturnType<typeof sql>): Promise<Decimal> {
  const { rows } = await sql<{ sum: string | null }>`${query}`.execute(transaction);
  return parseDecimal(rows[0]?.sum ?? '0', 'sum');
}
