import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { SubscriptionSchema } from '../../gen/billing/v1/plans_pb.ts';
import type { Subscription } from '../billing/plans/price-spans.ts';

export function toSubscriptionMessage(subscription: Subscription): MessageInitShape<typeof SubscriptionSchema> {
  return { ...subscription, startsAt: timestampFromDate(subscription.startsAt) };
}
