import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { openCallOf } from './open-call.ts';

/**
 * Ends the wait for calls that take one message and give one: at the client's deadline, and where it sent none after
 * `workTimeoutMs`. What was begun goes on: a batch may still be stored, and is a duplicate when it is sent again.
 */
export const keepDeadline: Interceptor = (next) => async (request) => {
  if (request.stream) return next(request);
  const call = openCallOf(request.contextValues);
  const over = Promise.withResolvers<never>();
  const onAbort = (): void => {
    const reason: unknown = request.signal.reason;
    // A stop lets calls under way end, and of a client that went away nobody waits.
    if (reason instanceof ConnectError && reason.code === Code.DeadlineExceeded) over.reject(reason);
  };
  request.signal.addEventListener('abort', onAbort);
  call.awaitsAnswer(over.reject);
  try {
    return await Promise.race([next(request), over.promise]);
  } finally {
    request.signal.removeEventListener('abort', onAbort);
    call.hasAnswer();
  }
};
