import { type Kysely, type Selectable, sql } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import type { InvoiceLinesTable, InvoicesTable } from '../../storage/postgres/schema-billing.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import type { Invoice, InvoiceLine } from './invoice.ts';

/** Which invoices to list; what is left out narrows nothing. */
export interface InvoiceFilter {
  readonly customerId?: string | undefined;
  readonly state?: Invoice['state'] | undefined;
  /** The last one of the page before. */
  readonly before?: Pick<Invoice, 'periodStart' | 'invoiceId'> | undefined;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** @throws CallerFault not_found */
export async function getInvoice(db: Kysely<Database>, invoiceId: string): Promise<Invoice> {
  const row = UUID.test(invoiceId)
    ? await db.selectFrom('invoices').selectAll().where('id', '=', invoiceId).executeTakeFirst()
    : undefined;
  if (row === undefined) {
    const shown = JSON.stringify(invoiceId.slice(0, 100));
    throw new CallerFault('not_found', 'invoice_id', `invoice_id: there is no invoice ${shown}`);
  }
  const lines = await linesOf(db, [row.id]);
  return toInvoice(row, lines.get(row.id));
}

/** Newest period first, with their lines. */
export async function listInvoices(db: Kysely<Database>, filter: InvoiceFilter, limit: number): Promise<Invoice[]> {
  const { customerId, state, before } = filter;
  let query = db.selectFrom('invoices').selectAll().orderBy('period_start', 'desc').orderBy('id', 'desc').limit(limit);
  if (customerId !== undefined) query = query.where('customer_id', '=', customerId);
  if (state !== undefined) query = query.where('state', '=', state);
  if (before !== undefined) {
    query = query.where(sql<boolean>`(period_start, id) < (${before.periodStart}, ${before.invoiceId}::uuid)`);
  }
  const rows = await query.execute();
  const lines = await linesOf(
    db,
    rows.map((row) => row.id),
  );
  return rows.map((row) => toInvoice(row, lines.get(row.id)));
}

async function linesOf(db: Kysely<Database>, invoiceIds: readonly string[]): Promise<Map<string, InvoiceLine[]>> {
  if (invoiceIds.length === 0) return new Map();
  const rows = await db
    .selectFrom('invoice_lines')
    .selectAll()
    .where('invoice_id', 'in', invoiceIds)
    .orderBy('invoice_id')
    .orderBy('position')
    .execute();
  const byInvoice = Map.groupBy(rows, (row) => row.invoice_id);
  return new Map([...byInvoice].map(([invoiceId, lines]) => [invoiceId, lines.map(toLine)]));
}

function toInvoice(row: Selectable<InvoicesTable>, lines: readonly InvoiceLine[] = []): Invoice {
  return {
    invoiceId: row.id,
    number: row.number ?? undefined,
    customerId: row.customer_id,
    state: row.state,
    periodStart: row.period_start,
    periodEnd: row.period_end,
    currency: row.currency,
    total: row.total,
    lines,
    finalizedAt: row.finalized_at ?? undefined,
  };
}

function toLine(row: Selectable<InvoiceLinesTable>): InvoiceLine {
  return {
    meter: row.meter,
    description: row.description,
    quantity: row.quantity,
    unit: row.unit,
    unitPrice: row.unit_price,
    amount: row.amount,
    start: row.starts_at,
    end: row.ends_at,
    planId: row.plan_id,
    planVersion: row.plan_version,
    regions: row.regions,
  };
}
