import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListInvoicesRequest, ListInvoicesResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { listInvoices as list } from '../billing/invoice/read-invoices.ts';
import { parsePeriod } from '../billing/period.ts';
import { customerInScope } from './auth.ts';
import { optionalDate, pageSize } from './fields.ts';
import { parseInvoiceState, toInvoiceMessage } from './invoice-message.ts';
import { fromPageToken, pageOf } from './page-token.ts';
import type { Readable } from './readable-store.ts';

/** Start of the period in Unix milliseconds, and the invoice. */
const TOKEN = /^\d{1,15} [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function listInvoices(readable: Readable) {
  return async (
    request: ListInvoicesRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof ListInvoicesResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const token = fromPageToken(request.pageToken, TOKEN);
    const customerId = customerInScope(context, request.customerId);
    const filter = {
      customerId: customerId === '' ? undefined : customerId,
      state: parseInvoiceState(request.state),
      period: request.period === '' ? undefined : parsePeriod(request.period).name,
      dueBefore: optionalDate('due_before', request.dueBefore),
      before: token === undefined ? undefined : parseToken(token),
    };
    const rows = await list(readable(context).db, filter, size + 1);
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
