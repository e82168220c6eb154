import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  InvoiceState,
  type ListInvoicesRequest,
  type ListInvoicesResponseSchema,
} from '../../gen/billing/v1/invoices_pb.ts';
import type { Invoice } from '../billing/invoice/invoice.ts';
import { listInvoices as list } from '../billing/invoice/read-invoices.ts';
import type { BillingStore } from '../billing/store.ts';
import { CallerFault } from '../lib/failure.ts';
import { customerInScope } from './auth.ts';
import { pageSize } from './fields.ts';
import { toInvoiceMessage } from './invoice-message.ts';
import { fromPageToken, pageOf } from './page-token.ts';

/** Start of the period in Unix milliseconds, and the invoice. */
const TOKEN = /^\d{1,15} [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function listInvoices({ db }: BillingStore) {
  return async (
    request: ListInvoicesRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof ListInvoicesResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const token = fromPageToken(request.pageToken, TOKEN);
    const customerId = customerInScope(context, request.customerId);
    const filter = {
      customerId: customerId === '' ? undefined : customerId,
      state: stateOf(request.state),
      before: token === undefined ? undefined : parseToken(token),
    };
    const rows = await list(db, filter, size + 1);
    const { page, nextPageToken } = pageOf(rows, size, ({ periodStart, invoiceId }) => {
      return `${periodStart.getTime()} ${invoiceId}`;
    });
    return { invoices: page.map(toInvoiceMessage), nextPageToken };
  };
}

function parseToken(token: string): { periodStart: Date; invoiceId: string } {
  const [ms = '', invoiceId = ''] = token.split(' ');
  return { periodStart: new Date(Number(ms)), invoiceId };
}

function stateOf(state: InvoiceState): Invoice['state'] | undefined {
  switch (state) {
    case InvoiceState.UNSPECIFIED:
      return undefined;
    case InvoiceState.DRAFT:
      return 'draft';
    case InvoiceState.FINAL:
      return 'final';
    default:
      throw new CallerFault('invalid_argument', 'state', `state: ${String(state)} is not known`);
  }
}
