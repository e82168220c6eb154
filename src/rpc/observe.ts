import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { isOurs, toConnectError } from './errors.ts';

/** What became of one call. */
export interface CallOutcome {
  /** E.g. `billing.v1.BillingQueryService/GetCustomerUsage`. */
  readonly method: string;
  /** `ok`, or a Connect code such as `invalid_argument`. */
  readonly code: string;
  readonly durationMs: number;
  /** What went wrong on our side. */
  readonly failure: unknown;
}

/** Around every call: errors get their codes, and each call is counted and timed. */
export function observe(onCall: (outcome: CallOutcome) => void): Interceptor {
  return (next) => async (request) => {
    const startedMs = performance.now();
    const method = `${request.service.typeName}/${request.method.name}`;
    const end = (error: ConnectError | undefined): void => onCall(outcomeOf(method, startedMs, error));
    try {
      const response = await next(request);
      if (!response.stream) {
        end(undefined);
        return response;
      }
      return { ...response, message: ended(response.message, end) };
    } catch (reason) {
      const error = toConnectError(reason);
      end(error);
      throw error;
    }
  };
}

/** What became of a call that began at `startedMs` of `performance.now()` and ends now. */
export function outcomeOf(method: string, startedMs: number, error: ConnectError | undefined): CallOutcome {
  const code = error === undefined ? 'ok' : codeName(error.code);
  const failure = error !== undefined && isOurs(error) ? (error.cause ?? error) : undefined;
  return { method, code, durationMs: performance.now() - startedMs, failure };
}

async function* ended<T>(
  messages: AsyncIterable<T>,
  end: (error: ConnectError | undefined) => void,
): AsyncGenerator<T> {
  // What it stays where the client goes away: the generator is then left without an error.
  let error: ConnectError | undefined = new ConnectError('the client went away', Code.Canceled);
  try {
    yield* messages;
    error = undefined;
  } catch (reason) {
    error = toConnectError(reason);
    throw error;
  } finally {
    end(error);
  }
}

/** `InvalidArgument` → `invalid_argument`, as the protocols spell it. */
function codeName(code: Code): string {
  return Code[code].replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
}
