import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { EndDiscountRequest, EndDiscountResponseSchema } from '../../gen/billing/v1/discounts_pb.ts';
import { endDiscount as end } from '../billing/plans/discounts.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';
import { toDiscountMessage } from './discount-message.ts';
import { requireDate } from './fields.ts';

export function endDiscount(store: BillingStore) {
  return async (
    { discountId, validUntil }: EndDiscountRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof EndDiscountResponseSchema>> => {
    const wanted = { discountId, validUntil: requireDate('valid_until', validUntil) };
    return { discount: toDiscountMessage(await end(store, wanted, callerOf(context).keyId)) };
  };
}
