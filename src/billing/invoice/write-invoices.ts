import { randomUUIDv7 } from 'node:crypto';
import { sql, type Transaction } from 'kysely';
import type { AuditEntry } from '../../audit/trail.ts';
import { insertRows, type NewRow } from '../../storage/postgres/insert-rows.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { daysAfter } from '../calendar.ts';
import { postingsOf } from '../ledger/accounts.ts';
import { postAll } from '../ledger/post.ts';
import { compareDecimals, formatDecimal, parseDecimal, ZERO } from '../money.ts';
import type { ComputedInvoice } from './compute-invoice.ts';
import type { ComputedTax, InvoiceInput } from './invoice-input.ts';
import type { InvoiceLine } from './invoice.ts';
import { takeNumbers } from './numbers.ts';

/** What is to become the invoice of a customer's period. */
export interface InvoiceToWrite {
  readonly input: InvoiceInput;
  readonly computed: ComputedInvoice;
  /** Before anything of the input was read. */
  readonly readAt: Date;
  /** The draft that there is. */
  readonly draft: StoredDraft | undefined;
  readonly isFinal: boolean;
  readonly paymentTermsDays: number;
  /** The void invoice that this one is made anew for. */
  readonly replacesInvoiceId: string | undefined;
}

export interface StoredDraft {
  readonly id: string;
  readonly input_hash: Buffer;
  readonly lines_hash: Buffer;
}

export interface WrittenInvoices {
  /** In the order given: each one's id, `undefined` where it has no lines and so is no invoice. */
  readonly invoiceIds: readonly (string | undefined)[];
  /** To be appended before the transaction ends, as the last of its locks. */
  readonly audit: readonly AuditEntry[];
}

/** Who writes invoices in the audit trail: the job, whoever started it. */
const ACTOR = 'meterd';

/**
 * Writes drafts and makes final, in the caller's transaction, with a number of statements that does not grow with theirs.
 * Drafts are replaced by what was computed, and withdrawn where nothing is left; one that did not change is not written. What
 * becomes final gets its number in the order given, and its postings. The caller holds the periods' rows.
 * @param at from when it is final
 */
export async function writeInvoices(
  transaction: Transaction<Database>,
  invoices: readonly InvoiceToWrite[],
  numberPrefix: string,
  at: Date,
): Promise<WrittenInvoices> {
  const withIds = invoices.map((each) => ({ ...each, id: each.draft?.id ?? randomUUIDv7() }));
  const changed = withIds.filter((each) => !isUnchanged(each));
  const gone = changed.flatMap((each) => (each.draft === undefined ? [] : [each.id]));
  if (gone.length > 0) {
    await sql`DELETE FROM invoices WHERE id = ANY(${gone}::uuid[])`.execute(transaction);
  }
  const drafts = changed.filter(hasLines);
  await insertRows(transaction, 'invoices', drafts.map(toInvoiceRow));
  await insertRows(transaction, 'invoice_lines', drafts.flatMap(toLineRows));
  await insertRows(transaction, 'invoice_taxes', drafts.flatMap(toTaxRows));
  const withdrawn = changed.filter((each) => !hasLines(each) && each.draft !== undefined);
  const finals = withIds.filter((each) => each.isFinal && hasLines(each));
  const audit = [
    ...withdrawn.map((each) => auditOf('invoice.withdrawn', each, at)),
    ...drafts.map((each) => auditOf('invoice.drafted', each, at)),
    ...(await makeFinal(transaction, finals, numberPrefix, at)),
  ];
  return { invoiceIds: withIds.map((each) => (hasLines(each) ? each.id : undefined)), audit };
}

type WithId = InvoiceToWrite & { readonly id: string };

function hasLines({ computed }: InvoiceToWrite): boolean {
  return computed.lines.length > 0;
}

function isUnchanged({ computed, draft }: InvoiceToWrite): boolean {
  if (draft === undefined) return computed.lines.length === 0;
  return draft.input_hash.equals(computed.inputHash) && draft.lines_hash.equals(computed.linesHash);
}

/** Stored drafts; their numbers, postings and audit records come into being together or not at all. */
async function makeFinal(
  transaction: Transaction<Database>,
  finals: readonly WithId[],
  numberPrefix: string,
  at: Date,
): Promise<AuditEntry[]> {
  if (finals.length === 0) return [];
  const numbers = await takeNumbers(transaction, numberPrefix, finals.length);
  const numbered = finals.map((each, index) => ({ ...each, number: numbers[index] ?? '' }));
  const rows = numbered.map(({ id, number, input, computed, paymentTermsDays, readAt, replacesInvoiceId }) => ({
    id,
    number,
    state: compareDecimals(parseDecimal(computed.total, 'total'), ZERO) > 0 ? 'final' : 'paid',
    due_at: daysAfter(at, paymentTermsDays, input.timeZone),
    computed_at: readAt,
    replaces_invoice_id: replacesInvoiceId ?? null,
  }));
  await sql`UPDATE invoices SET state = made.state, number = made.number, due_at = made.due_at, finalized_at = ${at},
      computed_at = made.computed_at, replaces_invoice_id = made.replaces_invoice_id
    FROM json_to_recordset(${JSON.stringify(rows)}::json)
      AS made (id uuid, state text, number text, due_at timestamptz, computed_at timestamptz, replaces_invoice_id uuid)
    WHERE invoices.id = made.id`.execute(transaction);
  await postAll(transaction, numbered.map(toLedger), at);
  return numbered.map((each) => {
    const { computed, number } = each;
    const hashes = {
      input_hash: computed.inputHash.toString('hex'),
      lines_hash: computed.linesHash.toString('hex'),
    };
    return auditOf('invoice.finalized', each, at, { number, ...hashes });
  });
}

/** The ledger transaction of a final invoice is found by this key. */
export function finalKey(invoiceId: string): string {
  return `invoice ${invoiceId} final`;
}

function toLedger({ id, number, input, computed }: WithId & { readonly number: string }) {
  const { customerId, currency, tax } = input;
  const postings = postingsOf({
    customerId,
    currency,
    taxRegion: tax.treatment === 'standard' ? tax.region : '',
    net: parseDecimal(computed.net, 'net'),
    taxes: computed.taxes,
    total: parseDecimal(computed.total, 'total'),
  });
  return { idempotencyKey: finalKey(id), description: `Invoice ${number}`, postings };
}

function auditOf(
  action: string,
  { id, input, computed }: WithId,
  at: Date,
  more: Readonly<Record<string, string>> = {},
): AuditEntry {
  const { customerId, currency, period } = input;
  const detail = { ...more, customer_id: customerId, period: period.name, currency, total: computed.total };
  return { at, actor: ACTOR, action, subject: id, detail };
}

function toInvoiceRow({ id, input, computed, readAt }: WithId): NewRow<'invoices'> {
  return {
    id,
    customer_id: input.customerId,
    period_start: input.period.start,
    period_end: input.period.end,
    state: 'draft',
    number: null,
    currency: input.currency,
    total: computed.total,
    tax: computed.tax,
    prices_include_tax: computed.pricesIncludeTax,
    period: input.period.name,
    time_zone: input.timeZone,
    due_at: null,
    replaces_invoice_id: null,
    voided_at: null,
    void_reason: '',
    input: computed.input,
    input_hash: computed.inputHash,
    lines_hash: computed.linesHash,
    computed_at: readAt,
    finalized_at: null,
  };
}

function toLineRows({ id, computed }: WithId): NewRow<'invoice_lines'>[] {
  return computed.lines.map((line: InvoiceLine, index) => ({
    invoice_id: id,
    position: index + 1,
    meter: line.meter,
    description: line.description,
    unit: line.unit,
    quantity: line.quantity,
    unit_price: line.unitPrice === '' ? null : line.unitPrice,
    amount: line.amount,
    starts_at: line.start,
    ends_at: line.end,
    plan_id: line.planId === '' ? null : line.planId,
    plan_version: line.planId === '' ? null : line.planVersion,
    regions: line.regions,
    kind: line.kind,
    charge_id: line.chargeId,
    included: line.included,
    estimated: line.estimated,
    tiers: line.tiers,
    taxable: line.taxable,
    exchange: line.exchange,
    adjusts_invoice_id: line.adjustsInvoiceId,
    manual_line_id: line.manualLineId,
  }));
}

function toTaxRows({ id, computed }: WithId): NewRow<'invoice_taxes'>[] {
  return computed.taxes.map((tax: ComputedTax, index) => ({
    invoice_id: id,
    position: index + 1,
    name: tax.name,
    percent: formatDecimal(tax.percent),
    base: formatDecimal(tax.base),
    amount: formatDecimal(tax.amount),
    note: tax.note,
  }));
}
