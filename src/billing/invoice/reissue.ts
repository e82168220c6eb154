import type { Kysely } from 'kysely';
import { appendAuditAll } from '../../audit/trail.ts';
import { CallerFault } from '../../lib/failure.ts';
import { parseId } from '../../lib/identifier.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { lockPrices } from '../store.ts';
import { changedMeanwhile, type Prepared, prepareBatch } from './close-batch.ts';
import type { Invoice } from './invoice.ts';
import type { InvoicingStore } from './invoicing-store.ts';
import { getInvoice } from './read-invoices.ts';
import { REASON_BYTES_MAX, type VoidRequest, voidInTransaction } from './void-invoice.ts';
import { writeInvoices } from './write-invoices.ts';

/** How often the invoice is computed anew because prices or other invoices changed meanwhile. */
const ATTEMPTS_MAX = 3;

/**
 * Voids a final invoice and makes its period's invoice final anew, with what is known now, in one transaction. Usage is read
 * before it, so that nobody waits for ClickHouse behind its locks. The same invoice again answers the same two.
 * @throws as `voidInvoice`; failed_precondition where usage of the period waits for the rollup, or nothing is left to bill;
 *   aborted where prices or other invoices of the customer changed each time that it was computed
 */
export async function reissueInvoice(
  store: InvoicingStore,
  request: VoidRequest,
  actor: string,
  signal: AbortSignal,
): Promise<{ readonly voided: Invoice; readonly invoice: Invoice }> {
  parseId('reason', request.reason, REASON_BYTES_MAX);
  const before = await getInvoice(store.db, request.invoiceId);
  const { invoiceId, customerId, period: name, periodStart: start, periodEnd: end } = before;
  const row = { customerId, period: { name, start, end } };
  const both = async (newId: string) => {
    return { voided: await getInvoice(store.db, invoiceId), invoice: await getInvoice(store.db, newId) };
  };
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    const earlier = await reissueOf(store.db, invoiceId);
    if (earlier !== undefined) return both(earlier);
    const prepared = await prepareBatch(store, [row], signal, { without: invoiceId });
    const made = await replace(store, before, prepared, request, actor);
    if (made !== undefined) return both(made);
  }
  const message = `invoice_id: what invoice ${before.number ?? ''} rests on changed each time that it was computed; try again`;
  throw new CallerFault('aborted', 'invoice_id', message);
}

/** @returns the new invoice's id, `undefined` where what it was prepared from has changed */
async function replace(
  store: InvoicingStore,
  before: Invoice,
  { ready: [ready], failed: [failed], readAt }: Prepared,
  { reason }: VoidRequest,
  actor: string,
): Promise<string | undefined> {
  const { invoiceId } = before;
  return store.db.transaction().execute(async (transaction) => {
    // Prices and earlier invoices hold still from here on.
    await lockPrices(transaction);
    // By another call, which may have ended before anything was read for this one.
    const made = await reissueOf(transaction, invoiceId);
    if (made !== undefined) return made;
    const isStale = ready !== undefined && (await changedMeanwhile(transaction, [ready], invoiceId)).size > 0;
    if (isStale) return undefined;
    const at = new Date(store.clock.nowMs());
    const voiding = await voidInTransaction(transaction, { invoiceId, reason }, actor, at);
    if (ready === undefined) throw failed?.reason ?? new Error(`invoice ${invoiceId} was not prepared`);
    if (!ready.settles) throw refused(before, 'usage of its period waits for the rollup; try again');
    const { customerId, period, computed, read } = ready;
    const { paymentTermsDays } = read.terms;
    const whole = { input: read.input, computed, readAt, draft: undefined, isFinal: true, paymentTermsDays };
    const replacing = { ...whole, replacesInvoiceId: invoiceId };
    const { invoiceIds, audit } = await writeInvoices(transaction, [replacing], store.numberPrefix, at);
    const [id] = invoiceIds;
    if (id === undefined) throw refused(before, 'nothing is left to bill; void it instead');
    await transaction
      .updateTable('billing_periods')
      .set({ settled: true })
      .where('customer_id', '=', customerId)
      .where('period_start', '=', period.start)
      .execute();
    await appendAuditAll(transaction, [voiding, ...audit]);
    return id;
  });
}

function refused({ number }: Invoice, problem: string): CallerFault {
  const message = `invoice_id: invoice ${number ?? ''} cannot be issued anew: ${problem}`;
  return new CallerFault('failed_precondition', 'invoice_id', message);
}

async function reissueOf(db: Kysely<Database>, invoiceId: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('invoices')
    .select('id')
    .where('replaces_invoice_id', '=', invoiceId)
    .executeTakeFirst();
  return row?.id;
}
