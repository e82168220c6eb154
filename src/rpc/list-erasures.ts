import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListErasuresRequest, ListErasuresResponseSchema } from '../../gen/billing/v1/customers_pb.ts';
import { listErasures as list } from '../billing/erase-customer.ts';
import type { BillingStore } from '../billing/store.ts';
import { toReceiptMessage } from './erasure-message.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';

/** The erasure. */
const TOKEN = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function listErasures({ db }: BillingStore) {
  return async (request: ListErasuresRequest): Promise<MessageInitShape<typeof ListErasuresResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const rows = await list(db, fromPageToken(request.pageToken, TOKEN), size + 1);
    const { page, nextPageToken } = pageOf(rows, size, (receipt) => receipt.erasureId);
    return { receipts: page.map(toReceiptMessage), nextPageToken };
  };
}
