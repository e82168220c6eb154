import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { EndSubscriptionRequest, EndSubscriptionResponseSchema } from '../../gen/billing/v1/plans_pb.ts';
import { endSubscription as end } from '../billing/plans/subscribe.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';
import { requireDate } from './fields.ts';
import { toSubscriptionMessage } from './subscription-message.ts';

export function endSubscription(store: BillingStore) {
  return async (
    { customerId, endsAt }: EndSubscriptionRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof EndSubscriptionResponseSchema>> => {
    const wanted = { customerId, endsAt: requireDate('ends_at', endsAt) };
    return { subscription: toSubscriptionMessage(await end(store, wanted, callerOf(context).keyId)) };
  };
}
