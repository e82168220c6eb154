import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PreviewPlanDraftRequest, PreviewPlanDraftResponseSchema } from '../../gen/billing/v1/plans_pb.ts';
import { periodAt } from '../billing/calendar.ts';
import type { InvoicingStore } from '../billing/invoice/invoicing-store.ts';
import { previewDraft } from '../billing/plans/preview-draft.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';

const UTC_MONTHS = { timeZone: 'UTC', anchorDay: 1 };

export function previewPlanDraft(store: InvoicingStore) {
  return async (
    request: PreviewPlanDraftRequest,
    { signal }: HandlerContext,
  ): Promise<MessageInitShape<typeof PreviewPlanDraftResponseSchema>> => {
    const { planId } = request;
    const size = pageSize(request.pageSize, 100, 1000);
    const after = fromPageToken(request.pageToken, /^.+$/su) ?? '';
    const period = request.period || lastMonth(new Date(store.clock.nowMs()));
    const rows = await previewDraft(store, planId, period, after, size + 1, signal);
    const { page, nextPageToken } = pageOf(rows, size, ({ customerId }) => customerId);
    return { period, differences: page, nextPageToken };
  };
}

/** The last month of UTC that is over. */
function lastMonth(now: Date): string {
  const { start } = periodAt(now, UTC_MONTHS);
  return periodAt(new Date(start.getTime() - 1), UTC_MONTHS).name;
}
