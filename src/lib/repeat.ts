import { setTimeout as wait } from 'node:timers/promises';

/** Work that is done again and again until it is stopped. */
export interface Repeated {
  /** Ends the repetition once the work under way has ended. Twice is harmless. */
  stop(): Promise<void>;
}

/** Does `work` every `intervalMs`, never beside itself; a failure is told and does not end the repetition. */
export function repeat(work: () => Promise<void>, intervalMs: number, onFailed: (reason: unknown) => void): Repeated {
  const stopped = new AbortController();
  const run = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      await wait(intervalMs, undefined, { signal: stopped.signal }).catch(() => undefined);
      if (!stopped.signal.aborted) await work().catch(onFailed);
    }
  };
  const running = run();
  return {
    async stop() {
      stopped.abort();
      await running;
    },
  };
}
