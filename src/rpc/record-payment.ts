import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { RecordPaymentRequest, RecordPaymentResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { recordPayment as record } from '../billing/invoice/payments.ts';
import { getInvoice } from '../billing/invoice/read-invoices.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';
import { requireDate } from './fields.ts';
import { toInvoiceMessage } from './invoice-message.ts';
import { toPaymentMessage } from './payment-message.ts';

export function recordPayment(store: BillingStore) {
  return async (
    request: RecordPaymentRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof RecordPaymentResponseSchema>> => {
    const { idempotencyKey, invoiceId, amount, method, reference } = request;
    const paidAt = requireDate('paid_at', request.paidAt);
    const asked = { idempotencyKey, invoiceId, amount, paidAt, method, reference };
    const payment = await record(store, asked, callerOf(context).keyId);
    const invoice = await getInvoice(store.db, payment.invoiceId);
    return { payment: toPaymentMessage(payment), invoice: toInvoiceMessage(invoice) };
  };
}
