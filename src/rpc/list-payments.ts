import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListPaymentsRequest, ListPaymentsResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { listPayments as list } from '../billing/invoice/payments.ts';
import { pageSize } from './fields.ts';
import { invoiceInScope } from './invoice-in-scope.ts';
import { fromPageToken, pageOf } from './page-token.ts';
import { toPaymentMessage } from './payment-message.ts';
import type { Readable } from './readable-store.ts';

/** The payment. */
const TOKEN = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function listPayments(readable: Readable) {
  return async (
    request: ListPaymentsRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof ListPaymentsResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const after = fromPageToken(request.pageToken, TOKEN);
    const store = readable(context);
    const { invoiceId } = await invoiceInScope(store, context, request.invoiceId);
    const { page, nextPageToken } = pageOf(await list(store, invoiceId, after, size + 1), size, (row) => row.paymentId);
    return { payments: page.map(toPaymentMessage), nextPageToken };
  };
}
