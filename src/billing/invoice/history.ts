import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import type { InvoiceLinesTable } from '../../storage/postgres/schema-billing.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { type Decimal, parseDecimal } from '../money.ts';
import type { ComputedLine } from './invoice-input.ts';

/** What was billed before: the next invoice of a customer rests on it. */

/** As long as raw windows are kept. */
const LOOK_BACK_MS = 400 * 86_400_000;

/** Invoices of periods that ended before this are no longer adjusted by that of a period which starts at `start`. */
export function lookBack(start: Date): Date {
  return new Date(start.getTime() - LOOK_BACK_MS);
}

type Db = Kysely<Database> | Transaction<Database>;

export interface FinalInvoice {
  readonly invoiceId: string;
  readonly customerId: string;
  readonly start: Date;
  /** Exclusive. */
  readonly end: Date;
  /** Before anything that it was computed from was read. */
  readonly computedAt: Date;
}

/**
 * Final invoices whose period ends after `since`, those that are void left out; by customer, in order of time.
 * @param without an invoice that counts as void
 */
export async function readHistory(
  db: Db,
  customerIds: readonly string[],
  since: Date,
  without: string | undefined,
): Promise<Map<string, FinalInvoice[]>> {
  let query = db
    .selectFrom('invoices')
    .select(['id', 'customer_id', 'period_start', 'period_end', 'computed_at'])
    .where(sql<boolean>`customer_id = ANY(${customerIds}::text[])`)
    .where('state', 'in', ['final', 'paid'])
    .where('period_end', '>', since)
    .orderBy('period_start');
  if (without !== undefined) query = query.where('id', '<>', without);
  const rows = await query.execute();
  const invoices = rows.map((row) => ({
    invoiceId: row.id,
    customerId: row.customer_id,
    start: row.period_start,
    end: row.period_end,
    computedAt: row.computed_at,
  }));
  return Map.groupBy(invoices, (invoice) => invoice.customerId);
}

/** The same as long as nothing that a customer's next invoice rests on became final or void. */
export function historyKey(history: readonly FinalInvoice[]): string {
  return history.map((invoice) => invoice.invoiceId).join();
}

/**
 * Fees in advance that earlier invoices have of a time behind their own period, by customer, the earliest first.
 * @param withDrafts counts drafts too: for showing what an invoice would be once they are final
 */
export async function readAdvanceFees(
  db: Db,
  customerIds: readonly string[],
  withDrafts: boolean,
): Promise<Map<string, ComputedLine[]>> {
  const rows = await db
    .selectFrom('invoice_lines')
    .innerJoin('invoices', 'invoices.id', 'invoice_id')
    .selectAll('invoice_lines')
    .select('customer_id')
    .where(sql<boolean>`customer_id = ANY(${customerIds}::text[])`)
    .where('state', 'in', withDrafts ? ['draft', 'final', 'paid'] : ['final', 'paid'])
    .where('kind', '=', 'flat')
    .whereRef('starts_at', '>=', 'period_end')
    .orderBy('starts_at')
    .orderBy('position')
    .execute();
  const byCustomer = Map.groupBy(rows, (row) => row.customer_id);
  return new Map([...byCustomer].map(([customerId, lines]) => [customerId, lines.map(toComputedLine)]));
}

/**
 * What was billed of each of these invoices' periods: their own lines and the adjustments of them on later invoices.
 * @param without an invoice that counts as void
 */
export async function readBilledLines(
  db: Db,
  invoiceIds: readonly string[],
  without: string | undefined,
): Promise<Map<string, ComputedLine[]>> {
  const ids = sql`ANY(${invoiceIds}::uuid[])`;
  let query = db
    .selectFrom('invoice_lines')
    .innerJoin('invoices', 'invoices.id', 'invoice_id')
    .selectAll('invoice_lines')
    .where(
      sql<boolean>`(invoice_id = ${ids} AND kind NOT IN ('adjustment', 'manual')
        OR adjusts_invoice_id = ${ids} AND state IN ('final', 'paid'))`,
    );
  if (without !== undefined) query = query.where('invoice_id', '<>', without);
  const rows = await query.execute();
  const byInvoice = Map.groupBy(rows, (row) => row.adjusts_invoice_id ?? row.invoice_id);
  return new Map([...byInvoice].map(([invoiceId, lines]) => [invoiceId, lines.map(toComputedLine)]));
}

function toComputedLine(row: Selectable<InvoiceLinesTable>): ComputedLine {
  const decimal = (text: string): Decimal => parseDecimal(text, 'invoice line');
  return {
    kind: row.kind,
    chargeId: row.charge_id,
    metric: row.meter,
    description: row.description,
    quantity: decimal(row.quantity),
    unit: row.unit,
    included: decimal(row.included),
    estimated: decimal(row.estimated),
    unitPrice: row.unit_price === null ? undefined : decimal(row.unit_price),
    amount: decimal(row.amount),
    tiers: row.tiers.map(({ quantity, unitPrice, flatAmount, amount }) => ({
      quantity: decimal(quantity),
      unitPrice: decimal(unitPrice === '' ? '0' : unitPrice),
      flatAmount: decimal(flatAmount === '' ? '0' : flatAmount),
      amount: decimal(amount),
    })),
    regions: row.regions.map(({ region, quantity }) => ({ region, quantity: decimal(quantity) })),
    start: row.starts_at,
    end: row.ends_at,
    planId: row.plan_id ?? '',
    planVersion: row.plan_version ?? 0,
    taxable: row.taxable,
    exchange: row.exchange === null ? undefined : { ...row.exchange, rate: decimal(row.exchange.rate) },
    adjustsInvoiceId: row.adjusts_invoice_id ?? undefined,
    manualLineId: row.manual_line_id ?? undefined,
  };
}
