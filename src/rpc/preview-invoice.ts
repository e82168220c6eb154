import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PreviewInvoiceRequest, PreviewInvoiceResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { InvoicingStore } from '../billing/invoice/invoicing-store.ts';
import { previewInvoice as preview } from '../billing/invoice/preview.ts';
import { customerInScope } from './auth.ts';
import { toInvoiceMessage } from './invoice-message.ts';

export function previewInvoice(store: InvoicingStore) {
  return async (
    request: PreviewInvoiceRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof PreviewInvoiceResponseSchema>> => {
    const customerId = customerInScope(context, request.customerId);
    const { invoice, asOf } = await preview(store, customerId, request.period, context.signal);
    return { invoice: toInvoiceMessage(invoice), asOf: timestampFromDate(asOf) };
  };
}
