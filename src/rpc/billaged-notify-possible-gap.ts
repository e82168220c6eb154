import type { MessageInitShape } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import type { NotifyPossibleGapRequest, NotifyPossibleGapResponseSchema } from '../../gen/billaged/v1/billing_pb.ts';
import type { Lifecycle } from '../ingest/accept-lifecycle.ts';
import { callerOf } from './auth.ts';
import { hostOf } from './billaged-host.ts';

/** Answers once the notice is on disk. */
export function billagedNotifyPossibleGap(lifecycle: Lifecycle) {
  return async (
    request: NotifyPossibleGapRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof NotifyPossibleGapResponseSchema>> => {
    const { vmId, lastSent: lastSentNanos, resumeTime: resumeTimeNanos } = request;
    const notice = { kind: 'possible_gap', vmId, lastSentNanos, resumeTimeNanos } as const;
    await lifecycle.notice(notice, hostOf(callerOf(context)));
    return { success: true };
  };
}
