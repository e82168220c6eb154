import { randomUUIDv7 } from 'node:crypto';
import type { Selectable, Transaction } from 'kysely';
import { appendAudit } from '../../audit/trail.ts';
import { CallerFault } from '../../lib/failure.ts';
import { parseId } from '../../lib/identifier.ts';
import type { MoneyTables } from '../../storage/postgres/schema-money.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { minorUnits } from '../currencies.ts';
import { parseDecimalField } from '../decimal-field.ts';
import { once } from '../idempotency.ts';
import { CASH, receivableOf, reversed } from '../ledger/accounts.ts';
import { type Posting, postToLedger } from '../ledger/post.ts';
import { compareDecimals, type Decimal, formatDecimal, negate, parseDecimal } from '../money.ts';
import { checkInstant } from '../period.ts';
import type { BillingStore } from '../store.ts';
import { lockOwed, type OwedInvoice, updatePaidState } from './amount-due.ts';
import { getInvoice, isUuid } from './read-invoices.ts';

/** Money that came in for an invoice, or was taken back. */
export interface Payment {
  /** A UUID. */
  readonly paymentId: string;
  readonly invoiceId: string;
  /** Above 0, in the invoice's currency. */
  readonly amount: string;
  readonly paidAt: Date;
  /** E.g. "bank transfer". */
  readonly method: string;
  /** The bank's or processor's; of a reversal its reason. */
  readonly reference: string;
  /** Set: the amount counts as taken back. */
  readonly reversesPaymentId: string | undefined;
  readonly recordedAt: Date;
  readonly recordedBy: string;
}

export interface PaymentRequest extends Pick<Payment, 'invoiceId' | 'amount' | 'paidAt' | 'method' | 'reference'> {
  readonly idempotencyKey: string;
}

const TEXT_BYTES_MAX = 400;

/**
 * Records money that came in: debit cash, credit what the customer owes. Once nothing is due the invoice is `paid`.
 * @throws CallerFault invalid_argument; not_found; failed_precondition where the invoice is not final, or less is due
 */
export async function recordPayment(store: BillingStore, request: PaymentRequest, actor: string): Promise<Payment> {
  const { idempotencyKey, invoiceId, paidAt, method, reference } = request;
  parseId('method', method, TEXT_BYTES_MAX);
  if (reference !== '') parseId('reference', reference, TEXT_BYTES_MAX);
  checkInstant('paid_at', paidAt);
  const amount = parseDecimalField('amount', request.amount, { sign: 'above 0' });
  return store.db.transaction().execute(async (transaction) => {
    const at = new Date(store.clock.nowMs());
    const input = { invoiceId, amount: request.amount, paidAt, method, reference };
    const make = async (id: string): Promise<Payment> => {
      const owed = await lockOwed(transaction, invoiceId);
      checkAmount(owed, amount);
      const paid = { paidAt, method, reference, reversesPaymentId: undefined, recordedAt: at, recordedBy: actor };
      const payment = { paymentId: id, invoiceId: owed.row.id, amount: formatDecimal(amount), ...paid };
      await writePayment(transaction, owed, payment, paymentPostings(owed, amount));
      return payment;
    };
    const read = (id: string) => getPayment(transaction, id);
    return once(transaction, { operation: 'payment', key: idempotencyKey, input, at }, make, read);
  });
}

/**
 * Records that a payment was taken back. The same again answers the same reversal.
 * @throws CallerFault invalid_argument; not_found; failed_precondition where the payment is itself a reversal
 */
export async function reversePayment(
  store: BillingStore,
  request: { readonly paymentId: string; readonly reversedAt: Date; readonly reason: string },
  actor: string,
): Promise<Payment> {
  const { paymentId, reversedAt, reason } = request;
  parseId('reason', reason, TEXT_BYTES_MAX);
  checkInstant('reversed_at', reversedAt);
  return store.db.transaction().execute(async (transaction) => {
    // Held before looking for an earlier reversal: a second one at once waits here, and then finds it.
    const payment = await getPayment(transaction, paymentId, true);
    if (payment.reversesPaymentId !== undefined) {
      const message = `payment_id: "${paymentId}" is a reversal; record the payment anew`;
      throw new CallerFault('failed_precondition', 'payment_id', message);
    }
    const earlier = await transaction
      .selectFrom('payments')
      .selectAll()
      .where('reverses_payment_id', '=', paymentId)
      .executeTakeFirst();
    if (earlier !== undefined) return toPayment(earlier);
    const owed = await lockOwed(transaction, payment.invoiceId);
    const recorded = { recordedAt: new Date(store.clock.nowMs()), recordedBy: actor };
    const changes = { paymentId: randomUUIDv7(), paidAt: reversedAt, reference: reason, reversesPaymentId: paymentId };
    const reversal = { ...payment, ...changes, ...recorded };
    const postings = reversed(paymentPostings(owed, parseDecimal(payment.amount, 'amount')));
    await writePayment(transaction, owed, reversal, postings);
    return reversal;
  });
}

/** Of an invoice, oldest first; those behind `after` where it is given. @throws CallerFault not_found */
export async function listPayments(
  { db }: BillingStore,
  idOrNumber: string,
  after: string | undefined,
  limit: number,
): Promise<Payment[]> {
  const { invoiceId } = await getInvoice(db, idOrNumber);
  // Ids are of version 7: in the order in which they were made.
  let query = db.selectFrom('payments').selectAll().where('invoice_id', '=', invoiceId).orderBy('id').limit(limit);
  if (after !== undefined) query = query.where('id', '>', after);
  return (await query.execute()).map(toPayment);
}

function checkAmount({ row, number, due }: OwedInvoice, amount: Decimal): void {
  const digits = minorUnits(row.currency);
  if (amount.scale > digits) {
    const message = `amount: ${formatDecimal(amount)} is finer than the ${digits} digits of ${row.currency}`;
    throw new CallerFault('invalid_argument', 'amount', message);
  }
  if (compareDecimals(amount, due) > 0) {
    const message = `amount: ${formatDecimal(amount)} is more than the ${formatDecimal(due)} that are due on invoice ${number}`;
    throw new CallerFault('failed_precondition', 'amount', message);
  }
}

function paymentPostings({ row }: OwedInvoice, amount: Decimal): Posting[] {
  const { currency, customer_id } = row;
  return [
    { account: CASH, currency, amount },
    { account: receivableOf(customer_id), currency, amount: negate(amount) },
  ];
}

async function writePayment(
  transaction: Transaction<Database>,
  { row, number }: OwedInvoice,
  payment: Payment,
  postings: readonly Posting[],
): Promise<void> {
  const { paymentId, amount, method, reference, recordedAt, recordedBy, reversesPaymentId } = payment;
  await transaction
    .insertInto('payments')
    .values({
      id: paymentId,
      invoice_id: row.id,
      amount,
      paid_at: payment.paidAt,
      method,
      reference,
      reverses_payment_id: reversesPaymentId ?? null,
      recorded_by: recordedBy,
      recorded_at: recordedAt,
    })
    .execute();
  const isReversal = reversesPaymentId !== undefined;
  const description = `${isReversal ? 'Reversed payment' : 'Payment'} of invoice ${number}`;
  await postToLedger(transaction, { idempotencyKey: `payment ${paymentId}`, description, postings }, recordedAt);
  await updatePaidState(transaction, row.id);
  await appendAudit(transaction, {
    at: recordedAt,
    actor: recordedBy,
    action: isReversal ? 'payment.reversed' : 'payment.recorded',
    subject: row.id,
    detail: { payment_id: paymentId, number, currency: row.currency, amount, method, reference },
  });
}

/** @param held until the transaction ends */
async function getPayment(transaction: Transaction<Database>, paymentId: string, held = false): Promise<Payment> {
  const named = transaction.selectFrom('payments').selectAll().where('id', '=', paymentId);
  const row = isUuid(paymentId) ? await (held ? named.forUpdate() : named).executeTakeFirst() : undefined;
  if (row === undefined) {
    const shown = JSON.stringify(paymentId.slice(0, 100));
    throw new CallerFault('not_found', 'payment_id', `payment_id: there is no payment ${shown}`);
  }
  return toPayment(row);
}

function toPayment(row: Selectable<MoneyTables['payments']>): Payment {
  return {
    paymentId: row.id,
    invoiceId: row.invoice_id,
    amount: row.amount,
    paidAt: row.paid_at,
    method: row.method,
    reference: row.reference,
    reversesPaymentId: row.reverses_payment_id ?? undefined,
    recordedAt: row.recorded_at,
    recordedBy: row.recorded_by,
  };
}
