import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { VoidInvoiceRequest, VoidInvoiceResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { voidInvoice as voidIt } from '../billing/invoice/void-invoice.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';
import { toInvoiceMessage } from './invoice-message.ts';

export function voidInvoice(store: BillingStore) {
  return async (
    request: VoidInvoiceRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof VoidInvoiceResponseSchema>> => {
    const { invoiceId, reason } = request;
    return { invoice: toInvoiceMessage(await voidIt(store, { invoiceId, reason }, callerOf(context).keyId)) };
  };
}
