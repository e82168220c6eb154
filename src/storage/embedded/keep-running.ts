import { setTimeout as wait } from 'node:timers/promises';
import { messageOf } from '../../lib/failure.ts';
import type { EmbeddedEngine } from './engine-process.ts';

/** An engine that leaves so often, without having stood for a while in between, will not stand the next time either. */
const DEPARTURES_MAX = 5;
const STEADY_MS = 60_000;
/** The wait before it is started again; it doubles with each departure. */
const DELAY_MS = 100;

export interface KeepRunningOptions {
  /**
   * Starts the engine.
   * @param url undefined at first; afterwards that of the first start, which the engine must have again
   */
  readonly start: (url: string | undefined) => Promise<EmbeddedEngine>;
  /** Told why the engine has left, or could not be started again, each time before it is started anew. */
  readonly onLeft: (why: string) => void;
  /** How long the engine has to stand until earlier departures are forgotten. A minute where left out. */
  readonly steadyMs?: number;
}

/**
 * Starts an engine, and starts it again under the same URL when it leaves without being asked to. Whoever uses it sees
 * failed connections meanwhile. `exited` resolves when it has left for good: stopped, or given up.
 * @throws Error where the first start fails
 */
export async function keepRunning(options: KeepRunningOptions): Promise<EmbeddedEngine> {
  const { start, onLeft, steadyMs = STEADY_MS } = options;
  const stop = new AbortController();
  const { signal } = stop;
  let latest = start(undefined);
  const { url, exited: firstExit } = await latest;

  const runAgain = async (): Promise<{ why: string; stoodMs: number }> => {
    latest = start(url);
    try {
      const engine = await latest;
      const readyMs = performance.now();
      return { why: await engine.exited, stoodMs: performance.now() - readyMs };
    } catch (reason) {
      return { why: messageOf(reason), stoodMs: 0 };
    }
  };
  const run = async (): Promise<string> => {
    let why = await firstExit;
    for (let departures = 1; ;) {
      if (signal.aborted) return why;
      if (departures >= DEPARTURES_MAX) return `${why}\nIt left ${departures} times in a row, and is given up`;
      onLeft(why);
      await wait(DELAY_MS * 2 ** (departures - 1), undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return why;
      const outcome = await runAgain();
      why = outcome.why;
      departures = outcome.stoodMs >= steadyMs ? 1 : departures + 1;
    }
  };
  const exited = run();
  return {
    url,
    exited,
    async stop() {
      stop.abort();
      // A start under way is waited for: nobody else could stop what it starts.
      const engine = await latest.catch(() => undefined);
      await engine?.stop();
      await exited;
    },
  };
}
