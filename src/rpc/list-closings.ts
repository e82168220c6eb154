import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListClosingsRequest, ListClosingsResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { listClosings as list } from '../billing/invoice/closings.ts';
import { parsePeriod } from '../billing/period.ts';
import type { BillingStore } from '../billing/store.ts';
import { toClosingMessage } from './closing-message.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';

/** The period and the customer. */
const TOKEN = /^\d{4}-\d{2} .+$/su;

export function listClosings({ db }: BillingStore) {
  return async (request: ListClosingsRequest): Promise<MessageInitShape<typeof ListClosingsResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const token = fromPageToken(request.pageToken, TOKEN);
    const { failedOnly, openOnly } = request;
    const filter = {
      period: request.period === '' ? undefined : parsePeriod(request.period).name,
      customerId: request.customerId === '' ? undefined : request.customerId,
      failedOnly,
      openOnly,
    };
    const after = token === undefined ? undefined : { period: token.slice(0, 7), customerId: token.slice(8) };
    const rows = await list(db, filter, after, size + 1);
    const { page, nextPageToken } = pageOf(rows, size, ({ period, customerId }) => `${period} ${customerId}`);
    return { closings: page.map(toClosingMessage), nextPageToken };
  };
}
