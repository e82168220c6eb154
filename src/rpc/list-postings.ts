import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListPostingsRequest, ListPostingsResponseSchema } from '../../gen/billing/v1/ledger_pb.ts';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { listPostings as list } from '../billing/ledger/read-ledger.ts';
import type { BillingStore } from '../billing/store.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';

/** The transaction and the posting's position in it. */
const TOKEN = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12} \d{1,9}$/;

export function listPostings({ db }: BillingStore) {
  return async (request: ListPostingsRequest): Promise<MessageInitShape<typeof ListPostingsResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const [transactionId, position] = fromPageToken(request.pageToken, TOKEN)?.split(' ') ?? [];
    const before = transactionId === undefined ? undefined : { transactionId, position: Number(position) };
    const rows = await list(db, request.account === '' ? undefined : request.account, before, size + 1);
    const { page, nextPageToken } = pageOf(rows, size, (row) => `${row.transactionId} ${row.position}`);
    const postings = page.map(({ transactionId: id, postedAt, description, account, currency, amount }) => {
      return { transactionId: id, postedAt: timestampFromDate(postedAt), description, account, currency, amount };
    });
    return { postings, nextPageToken };
  };
}
