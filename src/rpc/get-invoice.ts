import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetInvoiceRequest, GetInvoiceResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { invoiceInScope } from './invoice-in-scope.ts';
import { toInvoiceMessage } from './invoice-message.ts';
import type { Readable } from './readable-store.ts';

export function getInvoice(readable: Readable) {
  return async (
    request: GetInvoiceRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof GetInvoiceResponseSchema>> => {
    return { invoice: toInvoiceMessage(await invoiceInScope(readable(context), context, request.invoiceId)) };
  };
}
