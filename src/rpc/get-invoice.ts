import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetInvoiceRequest, GetInvoiceResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { getInvoice as read } from '../billing/invoice/read-invoices.ts';
import type { BillingStore } from '../billing/store.ts';
import { CallerFault } from '../lib/failure.ts';
import { customerInScope } from './auth.ts';
import { toInvoiceMessage } from './invoice-message.ts';

export function getInvoice({ db }: BillingStore) {
  return async (
    request: GetInvoiceRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof GetInvoiceResponseSchema>> => {
    const invoice = await read(db, request.invoiceId);
    const ownId = customerInScope(context, '');
    if (ownId !== '' && ownId !== invoice.customerId) {
      // As if it were not there: whether somebody else's invoice exists is nobody's business.
      const message = `invoice_id: there is no invoice ${JSON.stringify(request.invoiceId)}`;
      throw new CallerFault('not_found', 'invoice_id', message);
    }
    return { invoice: toInvoiceMessage(invoice) };
  };
}
