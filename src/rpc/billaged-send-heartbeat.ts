import type { MessageInitShape } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import type { SendHeartbeatRequest, SendHeartbeatResponseSchema } from '../../gen/billaged/v1/billing_pb.ts';
import type { Lifecycle } from '../ingest/accept-lifecycle.ts';
import { callerOf } from './auth.ts';
import { hostOf } from './billaged-host.ts';

/** Answers once the heartbeat is on disk. */
export function billagedSendHeartbeat(lifecycle: Lifecycle) {
  return async (
    request: SendHeartbeatRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof SendHeartbeatResponseSchema>> => {
    const { instanceId, activeVms } = request;
    await lifecycle.heartbeat(instanceId, activeVms, hostOf(callerOf(context)));
    return { success: true };
  };
}
