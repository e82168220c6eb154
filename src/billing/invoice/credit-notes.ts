import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import { appendAudit } from '../../audit/trail.ts';
import { CallerFault } from '../../lib/failure.ts';
import { parseId } from '../../lib/identifier.ts';
import { insertRows } from '../../storage/postgres/insert-rows.ts';
import type { MoneyTables } from '../../storage/postgres/schema-money.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { minorUnits } from '../currencies.ts';
import { parseDecimalField } from '../decimal-field.ts';
import { once } from '../idempotency.ts';
import { postToLedger } from '../ledger/post.ts';
import { postingsOf, reversed } from '../ledger/accounts.ts';
import { addDecimals, compareDecimals, type Decimal, formatDecimal, negate, parseDecimal, ZERO } from '../money.ts';
import { lockOwed, type OwedInvoice, updatePaidState } from './amount-due.ts';
import { type CreditableLine, type CreditableTax, creditOf, sum, taxShares } from './credit-share.ts';
import type { InvoiceTax } from './invoice.ts';
import type { InvoicingStore } from './invoicing-store.ts';
import { takeNumbers } from './numbers.ts';
import { isUuid } from './read-invoices.ts';
import { taxRegionOf } from './stored-input.ts';

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

export interface CreditNoteRequest {
  readonly idempotencyKey: string;
  /** Or its number. */
  readonly invoiceId: string;
  readonly reason: string;
  /** None: all that is left of the invoice. */
  readonly lines: readonly Pick<CreditNoteLine, 'invoiceLine' | 'amount'>[];
}

const REASON_BYTES_MAX = 400;

/**
 * Credits an invoice, in whole or by line, taxes in proportion. The same key with the same request again answers the same
 * credit note.
 * @throws CallerFault invalid_argument; not_found; failed_precondition where less is left, or the invoice is not final
 */
export async function createCreditNote(
  store: Pick<InvoicingStore, 'db' | 'clock' | 'creditNotePrefix'>,
  request: CreditNoteRequest,
  actor: string,
): Promise<CreditNote> {
  const { idempotencyKey, invoiceId, reason, lines } = request;
  parseId('reason', reason, REASON_BYTES_MAX);
  return store.db.transaction().execute(async (transaction) => {
    const at = new Date(store.clock.nowMs());
    const make = async (id: string): Promise<CreditNote> => {
      const owed = await lockOwed(transaction, invoiceId);
      const credit = await computeCredit(transaction, owed, lines);
      const [number = ''] = await takeNumbers(transaction, store.creditNotePrefix, 1);
      await writeCreditNote(transaction, owed, { id, number, reason, at, actor, credit });
      return getCreditNote(transaction, id);
    };
    const keyed = { operation: 'credit note', key: idempotencyKey, input: { invoiceId, reason, lines }, at };
    return once(transaction, keyed, make, (id) => getCreditNote(transaction, id));
  });
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

interface Credit {
  readonly lines: readonly { readonly position: number; readonly description: string; readonly credit: Decimal }[];
  readonly taxes: readonly { readonly tax: Selectable<MoneyTables['invoice_taxes']>; base: Decimal; amount: Decimal }[];
  readonly net: Decimal;
  readonly tax: Decimal;
  readonly total: Decimal;
}

async function computeCredit(
  transaction: Transaction<Database>,
  owed: OwedInvoice,
  asked: CreditNoteRequest['lines'],
): Promise<Credit> {
  const { row, number, total, credited } = owed;
  const digits = minorUnits(row.currency);
  const lines = await creditableLines(transaction, row.id);
  const wanted = parseAsked(asked, lines.length, digits, row.currency);
  const withCredit = lines.map((line) => {
    const { index, amount } = wanted.get(line.position) ?? { index: 0, amount: ZERO };
    const isAsked = asked.length === 0 || wanted.has(line.position);
    if (!isAsked) return { ...line, credit: ZERO };
    return { ...line, credit: creditOf(line, asked.length === 0 ? undefined : amount, `lines[${index}].amount`) };
  });
  const taxes = await creditableTaxes(transaction, row.id);
  const shares = taxShares(withCredit, taxes, digits);
  const lineSum = addDecimals({ units: 0n, scale: digits }, sum(withCredit.map((line) => line.credit)));
  const tax = addDecimals({ units: 0n, scale: digits }, sum(shares.map((share) => share.amount)));
  const creditTotal = row.prices_include_tax ? lineSum : addDecimals(lineSum, tax);
  const left = addDecimals(total, negate(credited));
  if (compareDecimals(creditTotal, ZERO) <= 0 || compareDecimals(creditTotal, left) > 0) {
    const message = `lines: ${formatDecimal(creditTotal)} is not above 0 and within the ${formatDecimal(left)} that are left of invoice ${number}`;
    throw new CallerFault('failed_precondition', 'lines', message);
  }
  return {
    lines: withCredit.filter((line) => line.credit.units !== 0n),
    taxes: taxes.map((each, index) => ({ tax: each.row, ...(shares[index] ?? { base: ZERO, amount: ZERO }) })),
    net: addDecimals(creditTotal, negate(tax)),
    tax,
    total: creditTotal,
  };
}

function parseAsked(
  asked: CreditNoteRequest['lines'],
  linesMax: number,
  digits: number,
  currency: string,
): Map<number, { readonly index: number; readonly amount: Decimal }> {
  const byLine = new Map<number, { index: number; amount: Decimal }>();
  for (const [index, { invoiceLine, amount: text }] of asked.entries()) {
    const [line, field] = [`lines[${index}].invoice_line`, `lines[${index}].amount`];
    if (invoiceLine < 1 || invoiceLine > linesMax) {
      throw new CallerFault('invalid_argument', line, `${line}: ${invoiceLine} is not from 1 to ${linesMax}`);
    }
    if (byLine.has(invoiceLine)) {
      throw new CallerFault('invalid_argument', line, `${line}: ${invoiceLine} is named twice`);
    }
    const amount = parseDecimalField(field, text);
    if (amount.scale > digits) {
      throw new CallerFault(
        'invalid_argument',
        field,
        `${field}: ${text} is finer than the ${digits} digits of ${currency}`,
      );
    }
    byLine.set(invoiceLine, { index, amount });
  }
  return byLine;
}

async function creditableLines(
  transaction: Transaction<Database>,
  invoiceId: string,
): Promise<(CreditableLine & { readonly description: string })[]> {
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
  return rows.map(({ position, description, taxable, amount, credited }) => {
    const amounts = { amount: parseDecimal(amount, 'amount'), credited: parseDecimal(credited, 'credited') };
    return { position, description, taxable, ...amounts };
  });
}

async function creditableTaxes(transaction: Transaction<Database>, invoiceId: string) {
  const rows = await transaction
    .selectFrom('invoice_taxes')
    .selectAll()
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
  return rows.map((row): CreditableTax & { readonly row: typeof row } => ({
    row,
    base: parseDecimal(row.base, 'base'),
    amount: parseDecimal(row.amount, 'amount'),
    baseCredited: parseDecimal(before.get(row.position)?.base ?? '0', 'base'),
    credited: parseDecimal(before.get(row.position)?.amount ?? '0', 'amount'),
  }));
}

async function writeCreditNote(
  transaction: Transaction<Database>,
  { row, number: invoiceNumber }: OwedInvoice,
  note: {
    readonly id: string;
    readonly number: string;
    readonly reason: string;
    readonly at: Date;
    readonly actor: string;
    readonly credit: Credit;
  },
): Promise<void> {
  const { id, number, reason, at, actor, credit } = note;
  const { customer_id, currency } = row;
  const total = formatDecimal(credit.total);
  const amounts = { tax: formatDecimal(credit.tax), total };
  await transaction
    .insertInto('credit_notes')
    .values({
      id,
      number,
      invoice_id: row.id,
      customer_id,
      currency,
      reason,
      ...amounts,
      issued_by: actor,
      issued_at: at,
    })
    .execute();
  const lines = credit.lines.map(({ position, description, credit: amount }, index) => {
    return { position: index + 1, invoice_line: position, description, amount: formatDecimal(amount) };
  });
  await insertRows(
    transaction,
    'credit_note_lines',
    lines.map((line) => ({ credit_note_id: id, ...line })),
  );
  const taxes = credit.taxes.map(({ tax: { position, name, percent, note: text }, base, amount }) => {
    return { position, name, percent, base: formatDecimal(base), amount: formatDecimal(amount), note: text };
  });
  await insertRows(
    transaction,
    'credit_note_taxes',
    taxes.map((tax) => ({ credit_note_id: id, ...tax })),
  );
  const taxAmounts = credit.taxes.map(({ tax, amount }) => ({ name: tax.name, amount }));
  const taxRegion = taxRegionOf(row.input);
  const sides = {
    customerId: customer_id,
    currency,
    taxRegion,
    net: credit.net,
    taxes: taxAmounts,
    total: credit.total,
  };
  const posted = {
    idempotencyKey: `credit note ${id}`,
    description: `Credit note ${number} of invoice ${invoiceNumber}`,
  };
  await postToLedger(transaction, { ...posted, postings: reversed(postingsOf(sides)) }, at);
  await updatePaidState(transaction, row.id);
  const detail = { number, invoice: invoiceNumber, customer_id, currency, total, reason };
  await appendAudit(transaction, { at, actor, action: 'credit_note.issued', subject: id, detail });
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
