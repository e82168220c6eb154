import type { MessageInitShape } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import type { NotifyVmStoppedRequest, NotifyVmStoppedResponseSchema } from '../../gen/billaged/v1/billing_pb.ts';
import type { Lifecycle } from '../ingest/accept-lifecycle.ts';
import { callerOf } from './auth.ts';
import { hostOf } from './billaged-host.ts';

/** Answers once the notice is on disk. */
export function billagedNotifyVmStopped(lifecycle: Lifecycle) {
  return async (
    request: NotifyVmStoppedRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof NotifyVmStoppedResponseSchema>> => {
    const { vmId, stopTime: stopTimeNanos } = request;
    await lifecycle.notice({ kind: 'stopped', vmId, stopTimeNanos }, hostOf(callerOf(context)));
    return { success: true };
  };
}
