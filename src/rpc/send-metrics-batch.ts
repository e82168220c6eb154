import { Code, ConnectError, type ContextValues, createContextKey, type HandlerContext } from '@connectrpc/connect';
import type { DescMethodUnary, MessageInitShape } from '@bufbuild/protobuf';
import {
  BillingCollectorService,
  type SendMetricsBatchResponse,
  SendMetricsBatchResponseSchema,
} from '../../gen/billing/v1/collector_pb.ts';
import { type SendMetricsBatchRest, SendMetricsBatchRestSchema } from '../../gen/meterd/internal/v1/raw_pb.ts';
import type { Key } from '../access/key.ts';
import type { Batch, Ingest } from '../ingest/accept-batch.ts';
import type { Verdict } from '../ingest/intake.ts';
import type { Sender } from '../ingest/window.ts';
import { type SplitBatch, splitBatch, type WireBatch } from '../ingest/wire-batch.ts';
import { callerOf } from './auth.ts';
import { notA } from './check-body.ts';
import { toConnectError } from './errors.ts';

type Response = MessageInitShape<typeof SendMetricsBatchResponseSchema>;

/** The method as protobuf calls come to it: its windows were taken out of the message before (see `setWindowsAside`). */
export const rawSendMetricsBatch: DescMethodUnary<
  typeof SendMetricsBatchRestSchema,
  typeof SendMetricsBatchResponseSchema
> = { ...BillingCollectorService.method.sendMetricsBatch, input: SendMetricsBatchRestSchema };

const kWindows = createContextKey<WireBatch | undefined>(undefined, {
  description: 'windows of the call, not decoded',
});

/**
 * Keeps the windows of a call's message for its handler, so that no object is made of each.
 * @returns what is left to decode
 * @throws ConnectError INVALID_ARGUMENT where the message is cut off or garbled
 */
export function setWindowsAside(message: Uint8Array, values: ContextValues): Uint8Array {
  const { windows, rest } = splitMessage(message);
  values.set(kWindows, windows);
  return rest;
}

/**
 * Takes a call's message apart, without a look into its windows.
 * @throws ConnectError INVALID_ARGUMENT where it is cut off or garbled
 */
export function splitMessage(message: Uint8Array): SplitBatch {
  try {
    return splitBatch(message);
  } catch (cause) {
    throw notA(BillingCollectorService.method.sendMetricsBatch.input, cause);
  }
}

/** Answers once every window that it counts as accepted or duplicate is on disk. */
export function sendMetricsBatch(ingest: Ingest) {
  return (request: Batch, context: HandlerContext): Promise<Response> => {
    return answerBatch(ingest, request, callerOf(context));
  };
}

/** The same for a caller that is known. @throws ConnectError where no window was taken; what `Ingest` throws */
export async function answerBatch(ingest: Ingest, batch: Batch, key: Key): Promise<Response> {
  const verdict = await ingest.accept(batch, senderOf(key));
  const response = toResponse(verdict);
  if (verdict.refused === batch.metrics.length) throw allRefused(verdict, response);
  return response;
}

/** The same for calls whose windows were set aside. */
export function sendRawMetricsBatch(ingest: Ingest) {
  const send = sendMetricsBatch(ingest);
  return (request: SendMetricsBatchRest, context: HandlerContext): Promise<Response> => {
    const metrics = context.values.get(kWindows);
    if (metrics === undefined) throw new Error('the windows of a call were not set aside before its handler');
    return send({ ...request, metrics }, context);
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
