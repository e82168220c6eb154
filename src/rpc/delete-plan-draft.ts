import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { DeletePlanDraftRequest, DeletePlanDraftResponseSchema } from '../../gen/billing/v1/plans_pb.ts';
import { deletePlanDraft as remove } from '../billing/plans/plan-drafts.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';

export function deletePlanDraft(store: BillingStore) {
  return async (
    { planId }: DeletePlanDraftRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof DeletePlanDraftResponseSchema>> => {
    await remove(store, planId, callerOf(context).keyId);
    return {};
  };
}
