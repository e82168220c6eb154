import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { StreamLiveUsageRequest, UsageUpdateSchema } from '../../gen/billing/v1/query_pb.ts';
import { CallerFault } from '../lib/failure.ts';
import type { LiveHub } from '../usage/live.ts';
import { customerInScope } from './auth.ts';
import { toTimestamp } from './fields.ts';
import { toQuantitiesMessage } from './usage-message.ts';

/** @param hub `undefined` where this process takes no windows: it then has nothing to stream, and says so */
export function streamLiveUsage(hub: LiveHub | undefined) {
  return async function* (
    request: StreamLiveUsageRequest,
    context: HandlerContext,
  ): AsyncGenerator<MessageInitShape<typeof UsageUpdateSchema>> {
    if (hub === undefined) {
      const message = 'live usage is served by processes of the role collector; this one is none';
      throw new CallerFault('failed_precondition', '', message);
    }
    const customerId = customerInScope(context, request.customerId);
    const { regions, resumeToken } = request;
    for await (const update of hub.subscribe({ customerId, regions, resumeToken, signal: context.signal })) {
      yield {
        customerId: update.customerId,
        usage: update.usage.map((usage) => ({
          vmId: usage.vmId,
          region: usage.region,
          start: toTimestamp(usage.startNanos),
          end: toTimestamp(usage.endNanos),
          quantities: toQuantitiesMessage(usage.quantities),
        })),
        sentAt: timestampFromMs(update.sentAtMs),
        resumeToken: update.resumeToken,
        reset: update.reset,
      };
    }
    // The stream has no end of its own: one that meterd's stopping cuts says so, for the client to come back.
    context.signal.throwIfAborted();
  };
}
