import { Code, ConnectError, type HandlerContext } from '@connectrpc/connect';
import type { DescMethodUnary, MessageInitShape } from '@bufbuild/protobuf';
import {
  BillingCollectorService,
  type SendMetricsBatchResponse,
  SendMetricsBatchResponseSchema,
} from '../../gen/billing/v1/collector_pb.ts';
import { RawSendMetricsBatchRequestSchema } from '../../gen/meterd/internal/v1/raw_pb.ts';
import type { Key } from '../access/key.ts';
import type { Batch, Ingest, Verdict } from '../ingest/accept-batch.ts';
import type { Sender } from '../ingest/window.ts';
import { callerOf } from './auth.ts';
import { toConnectError } from './errors.ts';

type Response = MessageInitShape<typeof SendMetricsBatchResponseSchema>;

/**
 * The method as protobuf calls come to it: on the wire a repeated message and repeated bytes look the same, and with bytes
 * the windows reach ingest as they were sent, without an object for each.
 */
export const rawSendMetricsBatch: DescMethodUnary<
  typeof RawSendMetricsBatchRequestSchema,
  typeof SendMetricsBatchResponseSchema
> = { ...BillingCollectorService.method.sendMetricsBatch, input: RawSendMetricsBatchRequestSchema };

/** Answers once every window that it counts as accepted or duplicate is on disk. */
export function sendMetricsBatch(ingest: Ingest) {
  return async (request: Batch, context: HandlerContext): Promise<Response> => {
    const verdict = await ingest.accept(request, senderOf(callerOf(context)));
    const response = toResponse(verdict);
    if (verdict.refused === request.metrics.length) throw allRefused(verdict, response);
    return response;
  };
}

/** What a collector key lets a host report. */
export function senderOf(key: Key): Sender {
  return {
    credentialId: key.keyId,
    regions: key.regions.includes('*') ? undefined : new Set(key.regions),
    customerIds: key.customerIds.length === 0 ? undefined : new Set(key.customerIds),
    backfill: key.backfill,
  };
}

function toResponse(verdict: Verdict): Response & Pick<SendMetricsBatchResponse, 'accepted'> {
  return {
    accepted: verdict.accepted,
    duplicate: verdict.duplicate,
    conflicting: verdict.conflicting,
    refused: verdict.refused,
    problems: verdict.faults.map(({ index, fault }) => ({
      index,
      code: fault.kind,
      field: fault.field,
      message: fault.message,
    })),
  };
}

/** A host that gets nothing through has to notice: the call fails, with the code of its first window's problem. */
function allRefused(verdict: Verdict, response: Response): ConnectError {
  const [first] = verdict.faults;
  if (first === undefined) throw new Error('every window was refused, and none has a problem');
  const { code, rawMessage } = toConnectError(first.fault);
  const more = verdict.refused > 1 ? ` (the first of ${verdict.refused} refused windows; none was taken)` : '';
  const details = [{ desc: SendMetricsBatchResponseSchema, value: response }];
  const where = `metrics[${first.index}]${first.fault.field === '' ? ': ' : '.'}`;
  return new ConnectError(`${where}${rawMessage}${more}`, code ?? Code.InvalidArgument, undefined, details);
}
