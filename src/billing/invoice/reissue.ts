import { appendAuditAll } from '../../audit/trail.ts';
import { CallerFault } from '../../lib/failure.ts';
import { parseId } from '../../lib/identifier.ts';
import { lockPrices } from '../store.ts';
import { pendingOf } from './close-batch.ts';
import { computeInvoice } from './compute-invoice.ts';
import type { Invoice } from './invoice.ts';
import type { InvoicingStore } from './invoicing-store.ts';
import { getInvoice } from './read-invoices.ts';
import { readInputs } from './read-inputs.ts';
import { REASON_BYTES_MAX, type VoidRequest, voidInTransaction } from './void-invoice.ts';
import { writeInvoices } from './write-invoices.ts';

/**
 * Voids a final invoice and makes its period's invoice final anew, with what is known now, in one transaction. The same
 * invoice again answers the same two.
 * @throws as `voidInvoice`; failed_precondition where usage of the period waits for the rollup, or nothing is left to bill
 */
export async function reissueInvoice(
  store: InvoicingStore,
  request: VoidRequest,
  actor: string,
  signal: AbortSignal,
): Promise<{ readonly voided: Invoice; readonly invoice: Invoice }> {
  parseId('reason', request.reason, REASON_BYTES_MAX);
  const before = await getInvoice(store.db, request.invoiceId);
  const earlier = await reissueOf(store, before.invoiceId);
  if (earlier !== undefined) return { voided: before, invoice: earlier };
  const invoiceId = await store.db.transaction().execute(async (transaction) => {
    // Nothing that the new invoice rests on changes from here on, so that nothing has to be compared again.
    await lockPrices(transaction);
    const at = new Date(store.clock.nowMs());
    const voiding = await voidInTransaction(transaction, request, actor, at);
    const { customerId, periodStart: start, periodEnd: end, period: name } = before;
    const row = { customerId, period: { name, start, end } };
    const waiting = await pendingOf(store, [row], signal);
    const inputs = await readInputs(store, [row], { db: transaction }, signal);
    const read = inputs.get(customerId) ?? new Error(`customer "${customerId}" has no input`);
    if (read instanceof Error) throw read;
    if (waiting.size > 0 || (await pendingOf(store, [row], signal)).size > 0) {
      throw refused(before, 'usage of its period waits for the rollup; try again');
    }
    const computed = computeInvoice(read.input);
    const { paymentTermsDays } = read.terms;
    const made = { input: read.input, computed, readAt: at, draft: undefined, isFinal: true, paymentTermsDays };
    const replacing = { ...made, replacesInvoiceId: before.invoiceId };
    const { invoiceIds, audit } = await writeInvoices(transaction, [replacing], store.numberPrefix, at);
    const [id] = invoiceIds;
    if (id === undefined) throw refused(before, 'nothing is left to bill; void it instead');
    await transaction
      .updateTable('billing_periods')
      .set({ settled: true })
      .where('customer_id', '=', customerId)
      .where('period_start', '=', start)
      .execute();
    await appendAuditAll(transaction, [voiding, ...audit]);
    return id;
  });
  return { voided: await getInvoice(store.db, before.invoiceId), invoice: await getInvoice(store.db, invoiceId) };
}

function refused({ number }: Invoice, problem: string): CallerFault {
  const message = `invoice_id: invoice ${number ?? ''} cannot be issued anew: ${problem}`;
  return new CallerFault('failed_precondition', 'invoice_id', message);
}

async function reissueOf({ db }: InvoicingStore, invoiceId: string): Promise<Invoice | undefined> {
  const row = await db
    .selectFrom('invoices')
    .select('id')
    .where('replaces_invoice_id', '=', invoiceId)
    .executeTakeFirst();
  return row === undefined ? undefined : getInvoice(db, row.id);
}
