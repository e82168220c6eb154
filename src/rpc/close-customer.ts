import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CloseCustomerRequest, CloseCustomerResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { closeCustomer as close } from '../billing/invoice/closings.ts';
import type { InvoicingStore } from '../billing/invoice/invoicing-store.ts';
import { toClosingMessage } from './closing-message.ts';

export function closeCustomer(store: InvoicingStore) {
  return async (
    request: CloseCustomerRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof CloseCustomerResponseSchema>> => {
    const closing = await close(store, request.customerId, request.period, context.signal);
    return { closing: toClosingMessage(closing) };
  };
}
