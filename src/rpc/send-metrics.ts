import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { SendMetricsRequest, SendMetricsResponseSchema } from '../../gen/billing/v1/collector_pb.ts';
import type { Ingest } from '../ingest/accept-batch.ts';
import { CallerFault } from '../lib/failure.ts';
import { callerOf } from './auth.ts';
import { senderOf } from './send-metrics-batch.ts';

/** One window: the batch path with a batch of one, and its problem as the call's error. */
export function sendMetrics(ingest: Ingest) {
  return async (
    request: SendMetricsRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof SendMetricsResponseSchema>> => {
    if (request.metrics === undefined) throw new CallerFault('invalid_argument', 'metrics', 'metrics is missing');
    const batch = { ...request, metrics: [request.metrics] };
    const verdict = await ingest.accept(batch, senderOf(callerOf(context)));
    const [problem] = verdict.faults;
    if (problem !== undefined) throw problem.fault;
    return { accepted: verdict.accepted === 1, duplicate: verdict.duplicate === 1 };
  };
}
