import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PublishPlanRequest, PublishPlanResponseSchema } from '../../gen/billing/v1/plans_pb.ts';
import { publishPlan as publish } from '../billing/plans/publish-plan.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';
import { requireDate } from './fields.ts';
import { toContentText, toPlanMessage } from './plan-message.ts';

export function publishPlan(store: BillingStore) {
  return async (
    request: PublishPlanRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof PublishPlanResponseSchema>> => {
    const { planId, currency, rates } = request;
    const validFrom = requireDate('valid_from', request.validFrom);
    const content = request.content === undefined ? undefined : toContentText(request.content);
    const plan = await publish(store, { planId, currency, rates, content, validFrom }, callerOf(context).keyId);
    return { plan: toPlanMessage(plan) };
  };
}
