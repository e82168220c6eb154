import type { Transaction } from 'kysely';
import { appendAudit } from '../../audit/trail.ts';
import { parseId } from '../../lib/identifier.ts';
import { insertRows } from '../../storage/postgres/insert-rows.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { once } from '../idempotency.ts';
import { postingsOf, reversed } from '../ledger/accounts.ts';
import { postToLedger } from '../ledger/post.ts';
import { formatDecimal } from '../money.ts';
import { lockOwed, type OwedInvoice, updatePaidState } from './amount-due.ts';
import { type AskedLine, computeCredit, type Credit } from './credit-share.ts';
import { readCreditable } from './creditable.ts';
import type { InvoicingStore } from './invoicing-store.ts';
import { takeNumbers } from './numbers.ts';
import { type CreditNote, getCreditNote } from './read-credit-notes.ts';
import { taxRegionOf } from './stored-input.ts';

export interface CreditNoteRequest {
  readonly idempotencyKey: string;
  /** Or its number. */
  readonly invoiceId: string;
  readonly reason: string;
  /** None: all that is left of the invoice. */
  readonly lines: readonly AskedLine[];
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
      const credit = computeCredit(await readCreditable(transaction, owed), lines);
      const [number = ''] = await takeNumbers(transaction, store.creditNotePrefix, 1);
      const note = { id, number, reason, at, actor, credit };
      await writeCreditNote(transaction, owed, note);
      await post(transaction, owed, note);
      await updatePaidState(transaction, owed.row.id);
      await audit(transaction, owed, note);
      return getCreditNote(transaction, id);
    };
    const keyed = { operation: 'credit note', key: idempotencyKey, input: { invoiceId, reason, lines }, at };
    return once(transaction, keyed, make, (id) => getCreditNote(transaction, id));
  });
}

interface NewNote {
  readonly id: string;
  readonly number: string;
  readonly reason: string;
  readonly at: Date;
  readonly actor: string;
  readonly credit: Credit;
}

async function writeCreditNote(
  transaction: Transaction<Database>,
  { row }: OwedInvoice,
  { id, number, reason, at, actor, credit }: NewNote,
): Promise<void> {
  const lines = credit.lines.map((line, index) => ({
    credit_note_id: id,
    position: index + 1,
    invoice_line: line.position,
    description: line.description,
    amount: formatDecimal(line.credit),
  }));
  const taxes = credit.taxes.map(({ position, name, percent, note, creditBase, creditAmount }) => ({
    credit_note_id: id,
    position,
    name,
    percent,
    base: formatDecimal(creditBase),
    amount: formatDecimal(creditAmount),
    note,
  }));
  await transaction
    .insertInto('credit_notes')
    .values({
      id,
      number,
      invoice_id: row.id,
      customer_id: row.customer_id,
      currency: row.currency,
      reason,
      tax: formatDecimal(credit.tax),
      total: formatDecimal(credit.total),
      issued_by: actor,
      issued_at: at,
    })
    .execute();
  await insertRows(transaction, 'credit_note_lines', lines);
  await insertRows(transaction, 'credit_note_taxes', taxes);
}

/** What the invoice posted, the other way round. */
async function post(transaction: Transaction<Database>, { row, number }: OwedInvoice, note: NewNote): Promise<void> {
  const { net, total, taxes } = note.credit;
  const postings = postingsOf({
    customerId: row.customer_id,
    currency: row.currency,
    taxRegion: taxRegionOf(row.input),
    net,
    taxes: taxes.map(({ name, creditAmount }) => ({ name, amount: creditAmount })),
    total,
  });
  const description = `Credit note ${note.number} of invoice ${number}`;
  const entry = { idempotencyKey: `credit note ${note.id}`, description, postings: reversed(postings) };
  await postToLedger(transaction, entry, note.at);
}

async function audit(transaction: Transaction<Database>, { row, number }: OwedInvoice, note: NewNote): Promise<void> {
  const { id, at, actor, reason, credit } = note;
  const { customer_id, currency } = row;
  const total = formatDecimal(credit.total);
  const detail = { number: note.number, invoice: number, customer_id, currency, total, reason };
  await appendAudit(transaction, { at, actor, action: 'credit_note.issued', subject: id, detail });
}
