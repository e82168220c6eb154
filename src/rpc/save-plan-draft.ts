import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { SavePlanDraftRequest, SavePlanDraftResponseSchema } from '../../gen/billing/v1/plans_pb.ts';
import { savePlanDraft as save } from '../billing/plans/plan-drafts.ts';
import type { BillingStore } from '../billing/store.ts';
import { CallerFault } from '../lib/failure.ts';
import { callerOf } from './auth.ts';
import { toContentText, toDraftMessage } from './plan-message.ts';

export function savePlanDraft(store: BillingStore) {
  return async (
    request: SavePlanDraftRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof SavePlanDraftResponseSchema>> => {
    const { planId, currency, content } = request;
    if (content === undefined) throw new CallerFault('invalid_argument', 'content', 'content is missing');
    const wanted = { planId, currency, content: toContentText(content) };
    return { draft: toDraftMessage(await save(store, wanted, callerOf(context).keyId)) };
  };
}
