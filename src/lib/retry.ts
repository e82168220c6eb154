import { setTimeout as wait } from 'node:timers/promises';

export interface RetryOptions {
  /** How often it is tried in all, at least 1. `Infinity` only where `signal` is sure to end it. */
  readonly attemptsMax: number;
  /** The wait before the second try; it doubles from there, with up to half of it left off by chance. */
  readonly delayMs: number;
  readonly delayMsMax: number;
  /** Ends the waiting; the reason is thrown. */
  readonly signal?: AbortSignal;
  /** Whether an error is worth another try. All are where left out. */
  readonly retryable?: (reason: unknown) => boolean;
  /** Told of each failure that is tried again. */
  readonly onRetry?: (reason: unknown, attempt: number) => void;
}

/**
 * Runs `work` until it succeeds: the one retry loop.
 * @throws what `work` threw last; the signal's reason
 */
export async function retry<T>(work: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    options.signal?.throwIfAborted();
    try {
      return await work(attempt);
    } catch (reason) {
      if (attempt >= options.attemptsMax || options.retryable?.(reason) === false) throw reason;
      options.onRetry?.(reason, attempt);
    }
    const delayMs = Math.min(options.delayMsMax, options.delayMs * 2 ** Math.min(attempt - 1, 30));
    const jitteredMs = delayMs * (1 - Math.random() / 2);
    await wait(jitteredMs, undefined, options.signal ? { signal: options.signal } : {}).catch((reason: unknown) => {
      throw options.signal?.reason ?? reason;
    });
  }
}
