import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ReissueInvoiceRequest, ReissueInvoiceResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import type { InvoicingStore } from '../billing/invoice/invoicing-store.ts';
import { reissueInvoice as reissue } from '../billing/invoice/reissue.ts';
import { callerOf } from './auth.ts';
import { toInvoiceMessage } from './invoice-message.ts';

export function reissueInvoice(store: InvoicingStore) {
  return async (
    request: ReissueInvoiceRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof ReissueInvoiceResponseSchema>> => {
    const { invoiceId, reason } = request;
    const both = await reissue(store, { invoiceId, reason }, callerOf(context).keyId, context.signal);
    return { voided: toInvoiceMessage(both.voided), invoice: toInvoiceMessage(both.invoice) };
  };
}
