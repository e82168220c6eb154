import { randomUUIDv7 } from 'node:crypto';
import { type Selectable, sql, type Transaction } from 'kysely';
import { withTransactionLock } from '../../storage/postgres/advisory-lock.ts';
import type { InvoicesTable } from '../../storage/postgres/schema-billing.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { appendAudit } from '../../audit/trail.ts';
import type { Customer } from '../customers.ts';
import { postToLedger } from '../ledger/post.ts';
import { negate, parseDecimal } from '../money.ts';
import type { Period } from '../period.ts';
import type { ComputedInvoice } from './compute-invoice.ts';
import type { InvoiceLine } from './invoice.ts';

/** Who writes invoices in the audit trail: the job, whoever started it. */
const ACTOR = 'meterd';
const NUMBER_DIGITS = 6;

interface Draft {
  readonly customer: Customer;
  readonly period: Period;
  readonly computed: ComputedInvoice;
  /** What `lockInvoice` gave: no final invoice. */
  readonly existing: Selectable<InvoicesTable> | undefined;
  readonly at: Date;
}

interface Finalization extends Omit<Draft, 'existing'> {
  readonly invoiceId: string;
  readonly numberPrefix: string;
}

/** Nobody else writes the invoice of this customer and period until the transaction ends. */
export async function lockInvoice(
  transaction: Transaction<Database>,
  customerId: string,
  period: Period,
): Promise<Selectable<InvoicesTable> | undefined> {
  await withTransactionLock(transaction, `meterd.invoice ${period.name} ${customerId}`);
  return transaction
    .selectFrom('invoices')
    .selectAll()
    .where('customer_id', '=', customerId)
    .where('period_start', '=', period.start)
    .executeTakeFirst();
}

/**
 * Replaces the draft by what was computed; without lines there is none. Writes nothing where nothing changed.
 * @returns the invoice's id, `undefined` where there are no lines
 */
export async function storeDraft(transaction: Transaction<Database>, draft: Draft): Promise<string | undefined> {
  const { customer, period, computed, existing, at } = draft;
  const { lines, total, inputHash, linesHash } = computed;
  const detail = { customer_id: customer.customerId, period: period.name, currency: customer.currency, total };
  if (lines.length === 0) {
    if (existing !== undefined) {
      await transaction.deleteFrom('invoices').where('id', '=', existing.id).execute();
      await appendAudit(transaction, { at, actor: ACTOR, action: 'invoice.withdrawn', subject: existing.id, detail });
    }
    return undefined;
  }
  if (existing?.input_hash.equals(inputHash) && existing.lines_hash.equals(linesHash)) return existing.id;
  const id = existing?.id ?? randomUUIDv7();
  const content = { total, input_hash: inputHash, lines_hash: linesHash, computed_at: at };
  if (existing === undefined) {
    const { customerId, currency } = customer;
    const key = { id, customer_id: customerId, period_start: period.start, period_end: period.end, currency };
    await transaction
      .insertInto('invoices')
      .values({ ...key, ...content, state: 'draft' })
      .execute();
  } else {
    await transaction.deleteFrom('invoice_lines').where('invoice_id', '=', id).execute();
    await transaction.updateTable('invoices').set(content).where('id', '=', id).execute();
  }
  await transaction
    .insertInto('invoice_lines')
    .values(lines.map((line, index) => toRow(id, index + 1, line)))
    .execute();
  await appendAudit(transaction, { at, actor: ACTOR, action: 'invoice.drafted', subject: id, detail });
  return id;
}

/** Makes a stored draft final: its number, its postings and its audit record come into being together or not at all. */
export async function finalizeInvoice(transaction: Transaction<Database>, finalization: Finalization): Promise<void> {
  const { invoiceId, customer, period, computed, at, numberPrefix } = finalization;
  const { customerId, currency } = customer;
  const number = await nextNumber(transaction, numberPrefix);
  await transaction
    .updateTable('invoices')
    .set({ state: 'final', number, finalized_at: at })
    .where('id', '=', invoiceId)
    .execute();
  const amount = parseDecimal(computed.total, 'total');
  const postings = [
    { account: `receivable:${customerId}`, currency, amount },
    { account: 'revenue', currency, amount: negate(amount) },
  ];
  const entry = { idempotencyKey: `invoice ${invoiceId} final`, description: `Invoice ${number}`, postings };
  await postToLedger(transaction, entry, at);
  const detail = {
    number,
    customer_id: customerId,
    period: period.name,
    currency,
    total: computed.total,
    input_hash: computed.inputHash.toString('hex'),
    lines_hash: computed.linesHash.toString('hex'),
  };
  await appendAudit(transaction, { at, actor: ACTOR, action: 'invoice.finalized', subject: invoiceId, detail });
}

/** The counter's row stays locked until the transaction ends, and goes back with it: so numbers have no gaps. */
async function nextNumber(transaction: Transaction<Database>, prefix: string): Promise<string> {
  const { last_number } = await transaction
    .insertInto('invoice_counters')
    .values({ series: prefix, last_number: 1n })
    .onConflict((conflict) =>
      conflict.column('series').doUpdateSet({ last_number: sql<bigint>`invoice_counters.last_number + 1` }),
    )
    .returning('last_number')
    .executeTakeFirstOrThrow();
  return `${prefix}${last_number.padStart(NUMBER_DIGITS, '0')}`;
}

function toRow(invoiceId: string, position: number, line: InvoiceLine) {
  return {
    invoice_id: invoiceId,
    position,
    meter: line.meter,
    description: line.description,
    unit: line.unit,
    quantity: line.quantity,
    unit_price: line.unitPrice,
    amount: line.amount,
    starts_at: line.start,
    ends_at: line.end,
    plan_id: line.planId,
    plan_version: line.planVersion,
    regions: JSON.stringify(line.regions),
  };
}
