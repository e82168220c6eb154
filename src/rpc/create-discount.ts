import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CreateDiscountRequest, CreateDiscountResponseSchema } from '../../gen/billing/v1/discounts_pb.ts';
import { createDiscount as create } from '../billing/plans/discounts.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';
import { toDiscountMessage, toDiscountRequest } from './discount-message.ts';

export function createDiscount(store: BillingStore) {
  return async (
    { discount }: CreateDiscountRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof CreateDiscountResponseSchema>> => {
    const wanted = toDiscountRequest(discount);
    return { discount: toDiscountMessage(await create(store, wanted, callerOf(context).keyId)) };
  };
}
