import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { CallerFault, type CallerFaultKind, codeOf, NotNow } from '../lib/failure.ts';
import { isEngineAway } from '../storage/engine-away.ts';

const CALLER_CODES: Readonly<Record<CallerFaultKind, Code>> = {
  invalid_argument: Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  failed_precondition: Code.FailedPrecondition,
  out_of_range: Code.OutOfRange,
  aborted: Code.Aborted,
};

const NOT_NOW_CODES: Readonly<Record<NotNow['kind'], Code>> = {
  resource_exhausted: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
};

/**
 * PostgreSQL's answer to a text with U+0000, which it cannot hold. Ids are checked before; a filter may be any text, and nothing is
 * stored under one with that character. https://www.postgresql.org/docs/18/errcodes-appendix.html
 */
const CHARACTER_NOT_IN_REPERTOIRE = '22021';

/** An embedded engine that left is back within about two seconds. */
const AWAY_RETRY_AFTER_MS = 2_000;

/**
 * The one place where errors become Connect codes. What is ours becomes INTERNAL without its message, which may hold
 * another customer's data; the log has it.
 */
export function toConnectError(reason: unknown): ConnectError {
  if (reason instanceof ConnectError) return reason;
  if (reason instanceof CallerFault) {
    return new ConnectError(reason.message, CALLER_CODES[reason.kind], undefined, undefined, reason);
  }
  if (reason instanceof NotNow) return notNow(reason, reason);
  if (codeOf(reason) === CHARACTER_NOT_IN_REPERTOIRE) {
    const message = 'the request has a text with the character U+0000, which none may have';
    return new ConnectError(message, Code.InvalidArgument, undefined, undefined, reason);
  }
  if (isEngineAway(reason)) {
    return notNow(new NotNow('unavailable', AWAY_RETRY_AFTER_MS, 'storage cannot be reached now; try again'), reason);
  }
  if (reason instanceof Error && reason.name === 'AbortError') {
    return new ConnectError('the call was cancelled', Code.Canceled, undefined, undefined, reason);
  }
  return new ConnectError('meterd failed; its log says why', Code.Internal, undefined, undefined, reason);
}

/**
 * When to come back is said twice: in a header for HTTP's clients, and in the detail that gRPC's know. The detail has whole nanoseconds,
 * which a part of a millisecond would not give, and then the answer could not be written.
 */
function notNow({ kind, retryAfterMs, message }: NotNow, cause: unknown): ConnectError {
  const retryAfter = { 'retry-after': String(Math.max(1, Math.ceil(retryAfterMs / 1000))) };
  const details = [{ desc: RetryInfoSchema, value: { retryDelay: durationFromMs(Math.ceil(retryAfterMs)) } }];
  return new ConnectError(message, NOT_NOW_CODES[kind], retryAfter, details, cause);
}

/** Whether an error is ours to look into. */
export function isOurs(error: ConnectError): boolean {
  return error.code === Code.Internal || error.code === Code.Unknown || error.code === Code.DataLoss;
}
