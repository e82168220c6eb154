import { sql, type Transaction } from 'kysely';
import { appendAuditAll } from '../../audit/trail.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { readSeller } from '../seller.ts';
import { lockPrices } from '../store.ts';
import { readTerms } from '../terms.ts';
import { type ComputedInvoice, computeInvoice } from './compute-invoice.ts';
import { historyKey, lookBack, readHistory } from './history.ts';
import type { ManualLine } from './invoice-input.ts';
import type { InvoicingStore } from './invoicing-store.ts';
import { manualLinesFor } from './manual-lines.ts';
import {
  type CustomerPeriod,
  earliestStart,
  historyOf,
  type ReadInput,
  readInputs,
  type ReadOptions,
} from './read-inputs.ts';
import { toNanos } from './usage-request.ts';
import { type StoredDraft, writeInvoices } from './write-invoices.ts';

/** A batch of customers' periods with what their invoices are to be; nothing of it is written yet. */
export interface Prepared {
  readonly ready: readonly PreparedPeriod[];
  /** Those whose invoice cannot be computed, each for a reason of its own. */
  readonly failed: readonly { readonly row: CustomerPeriod; readonly reason: unknown }[];
  /** Before anything was read. */
  readonly readAt: Date;
}

export interface PreparedPeriod extends CustomerPeriod {
  readonly read: ReadInput;
  readonly computed: ComputedInvoice;
  /** The grace is over and all usage was counted. */
  readonly settles: boolean;
}

/** What became of a customer's period. */
export interface Closed {
  readonly customerId: string;
  /**
   * `none`: there was nothing to bill. `before`: it was final before. `elsewhere`: another process has it under way.
   * `changed`: prices or earlier invoices changed while it was computed, and it has to be computed anew.
   */
  readonly outcome: 'none' | 'draft' | 'final' | 'before' | 'elsewhere' | 'changed';
}

/**
 * Reads and computes a batch. Complete is what nothing waited for in the rollup before the sums were read nor after it: a
 * rollup under way in between may have put some of its hours into the sums and others not.
 * @param rows at most 1,000, of different customers
 */
export async function prepareBatch(
  store: InvoicingStore,
  rows: readonly CustomerPeriod[],
  signal: AbortSignal,
  options: Pick<ReadOptions, 'without'> = {},
): Promise<Prepared> {
  const readAt = new Date(store.clock.nowMs());
  const waiting = await pendingOf(store, rows, signal);
  const inputs = await readInputs(store, rows, options, signal);
  for (const customerId of await pendingOf(store, rows, signal)) waiting.add(customerId);
  const ready: PreparedPeriod[] = [];
  const failed: Prepared['failed'][number][] = [];
  for (const row of rows) {
    try {
      const read = inputs.get(row.customerId) ?? new Error(`customer "${row.customerId}" has no input`);
      if (read instanceof Error) throw read;
      const graceIsOver = readAt.getTime() >= row.period.end.getTime() + store.graceMs;
      const settles = graceIsOver && !waiting.has(row.customerId);
      ready.push({ ...row, read, computed: computeInvoice(read.input), settles });
    } catch (reason) {
      failed.push({ row, reason });
    }
  }
  return { ready, failed, readAt };
}

/** Who has usage in its period that is not rolled up yet. */
export async function pendingOf(
  store: InvoicingStore,
  rows: readonly CustomerPeriod[],
  signal: AbortSignal,
): Promise<Set<string>> {
  const spans = rows.map(({ customerId, period }) => {
    return { customerId, startNanos: toNanos(period.start), endNanos: toNanos(period.end) };
  });
  return new Set(await store.usage.pendingCustomers(spans, signal));
}

/**
 * Writes a batch in one transaction: drafts, final invoices with their numbers, postings and audit records, and which periods
 * are settled. Locks are taken in this order: prices, rows of periods in order of the customer, invoices, the number, the
 * audit trail.
 */
export async function writeBatch(store: InvoicingStore, { ready, readAt }: Prepared): Promise<Closed[]> {
  if (ready.length === 0) return [];
  return store.db.transaction().execute(async (transaction) => {
    const settling = ready.filter((each) => each.settles);
    // Prices and earlier invoices hold still from here on.
    if (settling.length > 0) await lockPrices(transaction);
    const open = await lockOpen(transaction, ready);
    const mine = ready.filter((each) => open.has(each.customerId));
    const existing = await existingInvoices(transaction, mine);
    const before = mine.filter((each) => isFinal(existing.get(each.customerId)));
    const rest = mine.filter((each) => !before.includes(each));
    const changed = await changedMeanwhile(
      transaction,
      rest.filter((each) => each.settles),
    );
    const written = rest.filter((each) => !changed.has(each.customerId));
    const toWrite = written.map((each) => ({
      input: each.read.input,
      computed: each.computed,
      readAt,
      draft: existing.get(each.customerId),
      isFinal: each.settles,
      paymentTermsDays: each.read.terms.paymentTermsDays,
      replacesInvoiceId: undefined,
    }));
    const at = new Date(store.clock.nowMs());
    const { invoiceIds, audit } = await writeInvoices(transaction, toWrite, store.numberPrefix, at);
    await markSettled(transaction, [...before, ...written.filter((each) => each.settles)], readAt);
    await forgetFailures(transaction, written);
    await appendAuditAll(transaction, audit);
    const outcomes = new Map<string, Closed['outcome']>([
      ...before.map((each) => [each.customerId, 'before'] as const),
      ...[...changed].map((customerId) => [customerId, 'changed'] as const),
      ...written.map((each, index) => {
        const made = each.settles ? 'final' : 'draft';
        return [each.customerId, invoiceIds[index] === undefined ? 'none' : made] as const;
      }),
    ]);
    return ready.map(({ customerId }) => ({ customerId, outcome: outcomes.get(customerId) ?? 'elsewhere' }));
  });
}

/** @returns those that are open and that nobody else has under way; they are ours until the transaction ends */
async function lockOpen(transaction: Transaction<Database>, rows: readonly CustomerPeriod[]): Promise<Set<string>> {
  const locked = await transaction
    .selectFrom('billing_periods')
    .select('customer_id')
    .where(isOneOf(rows))
    .where('settled', '=', false)
    .orderBy('customer_id')
    .forUpdate()
    .skipLocked()
    .execute();
  return new Set(locked.map((row) => row.customer_id));
}

interface ExistingInvoice extends StoredDraft {
  readonly state: 'draft' | 'final' | 'paid' | 'void';
}

async function existingInvoices(
  transaction: Transaction<Database>,
  rows: readonly CustomerPeriod[],
): Promise<Map<string, ExistingInvoice>> {
  const invoices = await transaction
    .selectFrom('invoices')
    .select(['customer_id', 'id', 'state', 'input_hash', 'lines_hash'])
    .where(isOneOf(rows))
    .where('state', '<>', 'void')
    .execute();
  return new Map(invoices.map((row) => [row.customer_id, row]));
}

function isFinal(invoice: ExistingInvoice | undefined): boolean {
  return invoice !== undefined && invoice.state !== 'draft';
}

/**
 * Whose prices, seller or manual lines, or the invoices that its own rests on, are not those any more that it was computed with.
 * @param without as it was prepared with
 */
export async function changedMeanwhile(
  transaction: Transaction<Database>,
  settling: readonly PreparedPeriod[],
  without?: string,
): Promise<Set<string>> {
  if (settling.length === 0) return new Set();
  const terms = await readTerms(transaction, settling);
  const seller = JSON.stringify(await readSeller(transaction));
  const ids = settling.map((each) => each.customerId);
  const history = await readHistory(transaction, ids, lookBack(earliestStart(settling)), without);
  const manual = await manualLinesFor(transaction, settling, without);
  const changed = settling.filter((each) => {
    const now = terms.get(each.customerId);
    if (now === undefined || now instanceof Error || now.key !== each.read.terms.key) return true;
    if (seller !== JSON.stringify(each.read.input.seller)) return true;
    if (historyKey(historyOf(each, history)) !== each.read.historyKey) return true;
    return lineIds(manual.get(each.customerId) ?? []) !== lineIds(each.read.input.manualLines);
  });
  return new Set(changed.map((each) => each.customerId));
}

function lineIds(lines: readonly ManualLine[]): string {
  return lines.map((line) => line.manualLineId).join();
}

async function markSettled(
  transaction: Transaction<Database>,
  rows: readonly CustomerPeriod[],
  readAt: Date,
): Promise<void> {
  if (rows.length === 0) return;
  const settled = { settled: true, failures: 0, failure: '', failed_at: null, computed_at: readAt };
  await transaction.updateTable('billing_periods').set(settled).where(isOneOf(rows)).execute();
}

async function forgetFailures(transaction: Transaction<Database>, rows: readonly CustomerPeriod[]): Promise<void> {
  if (rows.length === 0) return;
  const none = { failures: 0, failure: '', failed_at: null };
  await transaction.updateTable('billing_periods').set(none).where(isOneOf(rows)).where('failures', '>', 0).execute();
}

/** Of `billing_periods` and of `invoices`: both are named by customer and start. */
export function isOneOf(rows: readonly CustomerPeriod[]) {
  const ids = rows.map((row) => row.customerId);
  const starts = rows.map((row) => row.period.start.toISOString());
  return sql<boolean>`(customer_id, period_start) IN (SELECT * FROM unnest(${ids}::text[], ${starts}::timestamptz[]))`;
}
