import { Code, ConnectError } from '@connectrpc/connect';
import { CallerFault, type CallerFaultKind, NotNow } from '../lib/failure.ts';

const CALLER_CODES: Readonly<Record<CallerFaultKind, Code>> = {
  invalid_argument: Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  failed_precondition: Code.FailedPrecondition,
  out_of_range: Code.OutOfRange,
  aborted: Code.Aborted,
  unimplemented: Code.Unimplemented,
};

const NOT_NOW_CODES: Readonly<Record<NotNow['kind'], Code>> = {
  resource_exhausted: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
};

/**
 * The one place where errors become Connect codes. What is ours becomes INTERNAL without its message, which may hold
 * another customer's data; the log has it.
 */
export function toConnectError(reason: unknown): ConnectError {
  if (reason instanceof ConnectError) return reason;
  if (reason instanceof CallerFault) {
    return new ConnectError(reason.message, CALLER_CODES[reason.kind], undefined, undefined, reason);
  }
  if (reason instanceof NotNow) {
    const retryAfter = { 'retry-after': String(Math.max(1, Math.ceil(reason.retryAfterMs / 1000))) };
    return new ConnectError(reason.message, NOT_NOW_CODES[reason.kind], retryAfter, undefined, reason);
  }
  if (reason instanceof Error && reason.name === 'AbortError') {
    return new ConnectError('the call was cancelled', Code.Canceled, undefined, undefined, reason);
  }
  return new ConnectError('meterd failed; its log says why', Code.Internal, undefined, undefined, reason);
}

/** Whether an error is ours to look into. */
export function isOurs(error: ConnectError): boolean {
  return error.code === Code.Internal || error.code === Code.Unknown || error.code === Code.DataLoss;
}
