import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PublishPlanDraftRequest, PublishPlanDraftResponseSchema } from '../../gen/billing/v1/plans_pb.ts';
import { publishPlanDraft as publish } from '../billing/plans/plan-drafts.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';
import { requireDate } from './fields.ts';
import { toPlanMessage } from './plan-message.ts';

export function publishPlanDraft(store: BillingStore) {
  return async (
    request: PublishPlanDraftRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof PublishPlanDraftResponseSchema>> => {
    const { planId, revision } = request;
    const validFrom = requireDate('valid_from', request.validFrom);
    return { plan: toPlanMessage(await publish(store, { planId, revision, validFrom }, callerOf(context).keyId)) };
  };
}
