import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListDiscountsRequest, ListDiscountsResponseSchema } from '../../gen/billing/v1/discounts_pb.ts';
import { listDiscounts as list } from '../billing/plans/discounts.ts';
import type { BillingStore } from '../billing/store.ts';
import { toDiscountMessage } from './discount-message.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';

/** Customer and discount: ids hold no control characters, so a NUL parts the two. */
const TOKEN = /^([^\0]+)\0([^\0]+)$/su;

export function listDiscounts({ db }: BillingStore) {
  return async (request: ListDiscountsRequest): Promise<MessageInitShape<typeof ListDiscountsResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const [, customerId, discountId] = TOKEN.exec(fromPageToken(request.pageToken, TOKEN) ?? '') ?? [];
    const after = customerId === undefined || discountId === undefined ? undefined : { customerId, discountId };
    const rows = await list(db, { customerId: request.customerId || undefined, after }, size + 1);
    const { page, nextPageToken } = pageOf(rows, size, (row) => `${row.customerId}\0${row.discountId}`);
    return { discounts: page.map(toDiscountMessage), nextPageToken };
  };
}
