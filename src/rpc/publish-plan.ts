import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PublishPlanRequest, PublishPlanResponseSchema } from '../../gen/billing/v1/plans_pb.ts';
import { publishPlan as publish } from '../billing/plans/publish-plan.ts';
import type { BillingStore } from '../billing/store.ts';
import { CallerFault } from '../lib/failure.ts';
import { callerOf } from './auth.ts';
import { requireDate } from './fields.ts';
import { toPlanMessage } from './plan-message.ts';

export function publishPlan(store: BillingStore) {
  return async (
    request: PublishPlanRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof PublishPlanResponseSchema>> => {
    const { planId, currency, rates } = request;
    if (rates === undefined) throw new CallerFault('invalid_argument', 'rates', 'rates is missing');
    const validFrom = requireDate('valid_from', request.validFrom);
    const plan = await publish(store, { planId, currency, rates, validFrom }, callerOf(context).keyId);
    return { plan: toPlanMessage(plan) };
  };
}
