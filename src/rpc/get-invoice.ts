import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetInvoiceRequest, GetInvoiceResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import type { BillingStore } from '../billing/store.ts';
import { invoiceInScope } from './invoice-in-scope.ts';
import { toInvoiceMessage } from './invoice-message.ts';

export function getInvoice(store: BillingStore) {
  return async (
    request: GetInvoiceRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof GetInvoiceResponseSchema>> => {
    return { invoice: toInvoiceMessage(await invoiceInScope(store, context, request.invoiceId)) };
  };
}
