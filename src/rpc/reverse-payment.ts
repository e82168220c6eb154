import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ReversePaymentRequest, ReversePaymentResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { reversePayment as reverse } from '../billing/invoice/payments.ts';
import { getInvoice } from '../billing/invoice/read-invoices.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';
import { requireDate } from './fields.ts';
import { toInvoiceMessage } from './invoice-message.ts';
import { toPaymentMessage } from './payment-message.ts';

export function reversePayment(store: BillingStore) {
  return async (
    request: ReversePaymentRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof ReversePaymentResponseSchema>> => {
    const { paymentId, reason } = request;
    const reversedAt = requireDate('reversed_at', request.reversedAt);
    const payment = await reverse(store, { paymentId, reversedAt, reason }, callerOf(context).keyId);
    const invoice = await getInvoice(store.db, payment.invoiceId);
    return { payment: toPaymentMessage(payment), invoice: toInvoiceMessage(invoice) };
  };
}
