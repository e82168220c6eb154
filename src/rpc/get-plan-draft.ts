import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetPlanDraftRequest, GetPlanDraftResponseSchema } from '../../gen/billing/v1/plans_pb.ts';
import { getPlanDraft as get } from '../billing/plans/plan-drafts.ts';
import type { BillingStore } from '../billing/store.ts';
import { toDraftMessage } from './plan-message.ts';

export function getPlanDraft({ db }: BillingStore) {
  return async ({ planId }: GetPlanDraftRequest): Promise<MessageInitShape<typeof GetPlanDraftResponseSchema>> => {
    return { draft: toDraftMessage(await get(db, planId)) };
  };
}
