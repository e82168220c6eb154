import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PreviewInvoiceRequest, PreviewInvoiceResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { previewInvoice as preview } from '../billing/invoice/preview.ts';
import { customerInScope } from './auth.ts';
import { toInvoiceMessage } from './invoice-message.ts';
import type { Readable } from './readable-store.ts';

export function previewInvoice(readable: Readable) {
  return async (
    request: PreviewInvoiceRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof PreviewInvoiceResponseSchema>> => {
    const customerId = customerInScope(context, request.customerId);
    const { invoice, asOf } = await preview(readable(context), customerId, request.period, context.signal);
    return { invoice: toInvoiceMessage(invoice), asOf: timestampFromDate(asOf) };
  };
}
