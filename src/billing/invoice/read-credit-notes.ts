import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import type { MoneyTables } from '../../storage/postgres/schema-money.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { addDecimals, formatDecimal, negate, parseDecimal } from '../money.ts';
import type { InvoiceTax } from './invoice.ts';
import { isUuid } from './read-invoices.ts';

/** What was taken back of a final invoice. Amounts are decimals. */
export interface CreditNote {
  /** A UUID. */
  readonly creditNoteId: string;
  /** Gapless, in a series of its own. */
  readonly number: string;
  readonly invoiceId: string;
  readonly invoiceNumber: string;
  readonly customerId: string;
  readonly issuedAt: Date;
  /** ISO 4217. */
  readonly currency: string;
  readonly reason: string;
  readonly lines: readonly CreditNoteLine[];
  readonly taxes: readonly InvoiceTax[];
  readonly net: string;
  readonly tax: string;
  readonly total: string;
}

export interface CreditNoteLine {
  /** The invoice's line, from 1. */
  readonly invoiceLine: number;
  readonly description: string;
  /** Has the sign of the invoice's line; with or without tax as that is. */
  readonly amount: string;
}

/** @throws CallerFault not_found */
export async function getCreditNote(
  db: Kysely<Database> | Transaction<Database>,
  creditNoteId: string,
): Promise<CreditNote> {
  const row = isUuid(creditNoteId)
    ? await notes(db).where('credit_notes.id', '=', creditNoteId).executeTakeFirst()
    : undefined;
  if (row === undefined) {
    const shown = JSON.stringify(creditNoteId.slice(0, 100));
    throw new CallerFault('not_found', 'credit_note_id', `credit_note_id: there is no credit note ${shown}`);
  }
  const [note] = await withParts(db, [row]);
  if (note === undefined) throw new Error(`credit note ${row.id} was read and is not there`);
  return note;
}

/** Newest first; those behind `before` where it is given. */
export async function listCreditNotes(
  db: Kysely<Database>,
  filter: {
    readonly customerId?: string | undefined;
    readonly invoiceId?: string | undefined;
    readonly before?: string | undefined;
  },
  limit: number,
): Promise<CreditNote[]> {
  // Ids are of version 7: in the order in which they were made.
  let query = notes(db).orderBy('credit_notes.id', 'desc').limit(limit);
  const { customerId, invoiceId, before } = filter;
  if (customerId !== undefined) query = query.where('credit_notes.customer_id', '=', customerId);
  if (invoiceId !== undefined)
    query = query.where(isUuid(invoiceId) ? 'invoices.id' : 'invoices.number', '=', invoiceId);
  if (before !== undefined) query = query.where('credit_notes.id', '<', before);
  return withParts(db, await query.execute());
}

function notes(db: Kysely<Database> | Transaction<Database>) {
  return db
    .selectFrom('credit_notes')
    .innerJoin('invoices', 'invoices.id', 'credit_notes.invoice_id')
    .selectAll('credit_notes')
    .select(sql<string>`coalesce(invoices.number, '')`.as('invoice_number'));
}

type NoteRow = Selectable<MoneyTables['credit_notes']> & { readonly invoice_number: string };

async function withParts(
  db: Kysely<Database> | Transaction<Database>,
  rows: readonly NoteRow[],
): Promise<CreditNote[]> {
  const ofThese = sql<boolean>`credit_note_id = ANY(${rows.map((row) => row.id)}::uuid[])`;
  const lines = await db.selectFrom('credit_note_lines').selectAll().where(ofThese).orderBy('position').execute();
  const taxes = await db.selectFrom('credit_note_taxes').selectAll().where(ofThese).orderBy('position').execute();
  const linesById = Map.groupBy(lines, (row) => row.credit_note_id);
  const taxesById = Map.groupBy(taxes, (row) => row.credit_note_id);
  return rows.map((row) => ({
    creditNoteId: row.id,
    number: row.number,
    invoiceId: row.invoice_id,
    invoiceNumber: row.invoice_number,
    customerId: row.customer_id,
    issuedAt: row.issued_at,
    currency: row.currency,
    reason: row.reason,
    lines: (linesById.get(row.id) ?? []).map(({ invoice_line, description, amount }) => {
      return { invoiceLine: invoice_line, description, amount };
    }),
    taxes: (taxesById.get(row.id) ?? []).map(({ name, percent, base, amount, note }) => {
      return { name, percent, base, amount, note };
    }),
    net: formatDecimal(addDecimals(parseDecimal(row.total, 'total'), negate(parseDecimal(row.tax, 'tax')))),
    tax: row.tax,
    total: row.total,
  }));
}
