import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { SubscribeRequest, SubscribeResponseSchema } from '../../gen/billing/v1/plans_pb.ts';
import { subscribe as start } from '../billing/plans/subscribe.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';
import { requireDate } from './fields.ts';
import { toSubscriptionMessage } from './subscription-message.ts';

export function subscribe(store: BillingStore) {
  return async (
    request: SubscribeRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof SubscribeResponseSchema>> => {
    const startsAt = requireDate('starts_at', request.startsAt);
    const { customerId, planId } = request;
    const subscription = await start(store, { customerId, planId, startsAt }, callerOf(context).keyId);
    return { subscription: toSubscriptionMessage(subscription) };
  };
}
