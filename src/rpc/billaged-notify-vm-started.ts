import type { MessageInitShape } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import type { NotifyVmStartedRequest, NotifyVmStartedResponseSchema } from '../../gen/billaged/v1/billing_pb.ts';
import type { Lifecycle } from '../ingest/accept-lifecycle.ts';
import { callerOf } from './auth.ts';
import { hostOf } from './billaged-host.ts';

/** Answers once the notice is on disk. */
export function billagedNotifyVmStarted(lifecycle: Lifecycle) {
  return async (
    request: NotifyVmStartedRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof NotifyVmStartedResponseSchema>> => {
    const { vmId, customerId, startTime: startTimeNanos } = request;
    await lifecycle.notice({ kind: 'started', vmId, customerId, startTimeNanos }, hostOf(callerOf(context)));
    return { success: true };
  };
}
