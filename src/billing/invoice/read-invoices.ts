import { type ExpressionBuilder, type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import type { InvoiceLinesTable, InvoicesTable } from '../../storage/postgres/schema-billing.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { addDecimals, compareDecimals, type Decimal, formatDecimal, negate, parseDecimal, ZERO } from '../money.ts';
import { decodeInput } from './input-text.ts';
import type { Invoice, InvoiceLine, InvoiceTax } from './invoice.ts';

type Db = Kysely<Database> | Transaction<Database>;

/** Which invoices to list; what is left out narrows nothing. */
export interface InvoiceFilter {
  readonly customerId?: string | undefined;
  readonly state?: Invoice['state'] | undefined;
  /** E.g. "2026-09". */
  readonly period?: string | undefined;
  /** Only final ones that are due by then. */
  readonly dueBefore?: Date | undefined;
  /** The last one of the page before. */
  readonly before?: Pick<Invoice, 'periodStart' | 'invoiceId'> | undefined;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** @throws CallerFault not_found */
export async function getInvoice(db: Db, idOrNumber: string): Promise<Invoice> {
  const row = await db
    .selectFrom('invoices')
    .selectAll()
    .select(paidAndCredited)
    .where(isUuid(idOrNumber) ? 'id' : 'number', '=', idOrNumber)
    .executeTakeFirst();
  if (row === undefined) throw noInvoice(idOrNumber);
  const [invoice] = await withLines(db, [row]);
  if (invoice === undefined) throw new Error(`invoice ${row.id} was read and is not there`);
  return row.input === null ? invoice : { ...invoice, ...partiesOf(row.input) };
}

/** Newest period first, with their lines; without seller and buyer. */
export async function listInvoices(db: Db, filter: InvoiceFilter, limit: number): Promise<Invoice[]> {
  const { customerId, state, period, dueBefore, before } = filter;
  let query = db
    .selectFrom('invoices')
    .select(HEAD)
    .select(paidAndCredited)
    .orderBy('period_start', 'desc')
    .orderBy('id', 'desc')
    .limit(limit);
  if (customerId !== undefined) query = query.where('customer_id', '=', customerId);
  if (state !== undefined) query = query.where('state', '=', state);
  if (period !== undefined) query = query.where('period', '=', period);
  if (dueBefore !== undefined) query = query.where('state', '=', 'final').where('due_at', '<=', dueBefore);
  if (before !== undefined) {
    query = query.where(sql<boolean>`(period_start, id) < (${before.periodStart}, ${before.invoiceId}::uuid)`);
  }
  return withLines(db, await query.execute());
}

export function isUuid(text: string): boolean {
  return UUID.test(text);
}

export function noInvoice(idOrNumber: string): CallerFault {
  const shown = JSON.stringify(idOrNumber.slice(0, 100));
  return new CallerFault('not_found', 'invoice_id', `invoice_id: there is no invoice ${shown}`);
}

/** Everything but the input, which is long. */
const HEAD = [
  'id',
  'customer_id',
  'period_start',
  'period_end',
  'state',
  'number',
  'currency',
  'total',
  'tax',
  'net',
  'prices_include_tax',
  'period',
  'time_zone',
  'due_at',
  'replaces_invoice_id',
  'voided_at',
  'void_reason',
  'input_hash',
  'lines_hash',
  'finalized_at',
] as const satisfies readonly (keyof InvoicesTable)[];

type Head = Pick<Selectable<InvoicesTable>, (typeof HEAD)[number]> & {
  readonly paid: string;
  readonly credited: string;
};

/** What was paid and not taken back, and what was credited. */
function paidAndCredited(builder: ExpressionBuilder<Database, 'invoices'>) {
  const paid = builder
    .selectFrom('payments')
    .whereRef('payments.invoice_id', '=', 'invoices.id')
    .select(
      sql<string>`coalesce(sum(CASE WHEN reverses_payment_id IS NULL THEN amount ELSE -amount END), 0)`.as('sum'),
    );
  const credited = builder
    .selectFrom('credit_notes')
    .whereRef('credit_notes.invoice_id', '=', 'invoices.id')
    .select(sql<string>`coalesce(sum(credit_notes.total), 0)`.as('sum'));
  return [paid.$asScalar().$notNull().as('paid'), credited.$asScalar().$notNull().as('credited')];
}

async function withLines(db: Db, rows: readonly Head[]): Promise<Invoice[]> {
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.id);
  const ofThese = sql<boolean>`invoice_id = ANY(${ids}::uuid[])`;
  const lines = await db.selectFrom('invoice_lines').selectAll().where(ofThese).orderBy('position').execute();
  const taxes = await db.selectFrom('invoice_taxes').selectAll().where(ofThese).orderBy('position').execute();
  const linesById = Map.groupBy(lines, (row) => row.invoice_id);
  const taxesById = Map.groupBy(taxes, (row) => row.invoice_id);
  return rows.map((row) => toInvoice(row, (linesById.get(row.id) ?? []).map(toLine), taxesById.get(row.id) ?? []));
}

function toInvoice(row: Head, lines: readonly InvoiceLine[], taxes: readonly InvoiceTax[]): Invoice {
  return {
    invoiceId: row.id,
    number: row.number ?? undefined,
    customerId: row.customer_id,
    state: row.state,
    // Those made before periods had names: months of UTC.
    period: row.period === '' ? row.period_start.toISOString().slice(0, 7) : row.period,
    periodStart: row.period_start,
    periodEnd: row.period_end,
    timeZone: row.time_zone,
    currency: row.currency,
    total: row.total,
    net: row.net,
    tax: row.tax,
    taxes: taxes.map(({ name, percent, base, amount, note }) => ({ name, percent, base, amount, note })),
    pricesIncludeTax: row.prices_include_tax,
    lines,
    finalizedAt: row.finalized_at ?? undefined,
    dueAt: row.due_at ?? undefined,
    ...settlementOf(row),
    replacesInvoiceId: row.replaces_invoice_id ?? undefined,
    voidedAt: row.voided_at ?? undefined,
    voidReason: row.void_reason,
    seller: undefined,
    buyer: undefined,
    inputHash: row.input_hash.toString('hex'),
    linesHash: row.lines_hash.toString('hex'),
  };
}

function settlementOf(row: Head): Pick<Invoice, 'amountPaid' | 'amountCredited' | 'amountDue'> {
  const total = parseDecimal(row.total, 'total');
  const inDigits = (text: string): Decimal =>
    addDecimals({ ...ZERO, scale: total.scale }, parseDecimal(text, 'amount'));
  const [paid, credited] = [inDigits(row.paid), inDigits(row.credited)];
  const left = addDecimals(total, negate(addDecimals(paid, credited)));
  const isOwed = (row.state === 'final' || row.state === 'paid') && compareDecimals(left, ZERO) > 0;
  const due = isOwed ? left : { units: 0n, scale: total.scale };
  return { amountPaid: formatDecimal(paid), amountCredited: formatDecimal(credited), amountDue: formatDecimal(due) };
}

function toLine(row: Selectable<InvoiceLinesTable>): InvoiceLine {
  return {
    kind: row.kind,
    chargeId: row.charge_id,
    meter: row.meter,
    description: row.description,
    quantity: row.quantity,
    unit: row.unit,
    included: row.included,
    estimated: row.estimated,
    tiers: row.tiers,
    unitPrice: row.unit_price ?? '',
    amount: row.amount,
    start: row.starts_at,
    end: row.ends_at,
    planId: row.plan_id ?? '',
    planVersion: row.plan_version ?? 0,
    regions: row.regions,
    taxable: row.taxable,
    exchange: row.exchange ?? undefined,
    adjustsInvoiceId: row.adjusts_invoice_id ?? undefined,
    manualLineId: row.manual_line_id ?? undefined,
  };
}

function partiesOf(input: string): Pick<Invoice, 'seller' | 'buyer'> {
  const { seller, buyer } = decodeInput(input);
  return { seller, buyer };
}
