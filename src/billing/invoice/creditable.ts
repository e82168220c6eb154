import { sql, type Transaction } from 'kysely';
import type { Database } from '../../storage/postgres/schema.ts';
import { addDecimals, type Decimal, negate, parseDecimal } from '../money.ts';
import type { OwedInvoice } from './amount-due.ts';

/** What an invoice has that may be taken back, and what of it was before. Amounts have the invoice's sign. */
export interface CreditableInvoice {
  readonly number: string;
  /** ISO 4217. */
  readonly currency: string;
  /** The lines' amounts have the taxes in them. */
  readonly pricesIncludeTax: boolean;
  /** Of its total. */
  readonly left: Decimal;
  /** All of them, in order. */
  readonly lines: readonly CreditableLine[];
  readonly taxes: readonly CreditableTax[];
}

interface Creditable {
  readonly amount: Decimal;
  readonly credited: Decimal;
  /** From 1. */
  readonly position: number;
}

export interface CreditableLine extends Creditable {
  readonly description: string;
  readonly taxable: boolean;
}

export interface CreditableTax extends Creditable {
  readonly name: string;
  readonly percent: string;
  readonly note: string;
  readonly base: Decimal;
  readonly baseCredited: Decimal;
}

/** Of an invoice whose row this transaction holds. */
export async function readCreditable(
  transaction: Transaction<Database>,
  { row, number, total, credited }: OwedInvoice,
): Promise<CreditableInvoice> {
  return {
    number,
    currency: row.currency,
    pricesIncludeTax: row.prices_include_tax,
    left: addDecimals(total, negate(credited)),
    lines: await readLines(transaction, row.id),
    taxes: await readTaxes(transaction, row.id),
  };
}

async function readLines(transaction: Transaction<Database>, invoiceId: string): Promise<CreditableLine[]> {
  const rows = await transaction
    .selectFrom('invoice_lines as line')
    .where('line.invoice_id', '=', invoiceId)
    .select(['line.position', 'line.description', 'line.amount', 'line.taxable'])
    .select(
      sql<string>`(SELECT coalesce(sum(credited.amount), 0) FROM credit_note_lines AS credited
      JOIN credit_notes ON credit_notes.id = credited.credit_note_id
      WHERE credit_notes.invoice_id = line.invoice_id AND credited.invoice_line = line.position)`.as('credited'),
    )
    .orderBy('line.position')
    .execute();
  return rows.map(({ amount, credited, ...line }) => ({
    ...line,
    amount: parseDecimal(amount, 'amount'),
    credited: parseDecimal(credited, 'credited'),
  }));
}

async function readTaxes(transaction: Transaction<Database>, invoiceId: string): Promise<CreditableTax[]> {
  const rows = await transaction
    .selectFrom('invoice_taxes')
    .select(['position', 'name', 'percent', 'note', 'base', 'amount'])
    .where('invoice_id', '=', invoiceId)
    .orderBy('position')
    .execute();
  const credited = await transaction
    .selectFrom('credit_note_taxes')
    .innerJoin('credit_notes', 'credit_notes.id', 'credit_note_id')
    .where('invoice_id', '=', invoiceId)
    .groupBy('position')
    .select(['position', sql<string>`sum(base)`.as('base'), sql<string>`sum(amount)`.as('amount')])
    .execute();
  const before = new Map(credited.map((row) => [row.position, row]));
  return rows.map(({ base, amount, ...tax }) => ({
    ...tax,
    base: parseDecimal(base, 'base'),
    amount: parseDecimal(amount, 'amount'),
    baseCredited: parseDecimal(before.get(tax.position)?.base ?? '0', 'base'),
    credited: parseDecimal(before.get(tax.position)?.amount ?? '0', 'amount'),
  }));
}
