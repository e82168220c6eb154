import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetBalancesRequest, GetBalancesResponseSchema } from '../../gen/billing/v1/ledger_pb.ts';
import { balances as read } from '../billing/ledger/read-ledger.ts';
import type { BillingStore } from '../billing/store.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';

/** The currency and the account. */
const TOKEN = /^[A-Z]{3} .+$/su;

export function getBalances({ db }: BillingStore) {
  return async (request: GetBalancesRequest): Promise<MessageInitShape<typeof GetBalancesResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const token = fromPageToken(request.pageToken, TOKEN);
    const after = token === undefined ? undefined : { currency: token.slice(0, 3), account: token.slice(4) };
    const rows = await read(db, request.accountPrefix, after, size + 1);
    const { page, nextPageToken } = pageOf(rows, size, ({ account, currency }) => `${currency} ${account}`);
    return { balances: page, nextPageToken };
  };
}
