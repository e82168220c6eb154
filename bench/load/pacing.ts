import { setTimeout as wait } from 'node:timers/promises';
import type { Pace } from './messages.ts';

/** One call; it knows when it should have started. @returns false where there is nothing more to send */
export type Work = (intendedMs: number) => Promise<boolean>;

const TICK_MS = 1;

/** Runs `work` at a pace for a time, and ends when every call that was started has ended. @throws the first failure */
export async function paced(pace: Pace, forMs: number, work: Work): Promise<void> {
  if (pace.kind === 'closed') await closedLoop(pace.inFlight, forMs, work);
  else await openLoop(pace, forMs, work);
}

async function closedLoop(inFlight: number, forMs: number, work: Work): Promise<void> {
  const untilMs = performance.now() + forMs;
  let isOver = false;
  const lane = async (): Promise<void> => {
    while (!isOver && performance.now() < untilMs) {
      if (!(await work(performance.now()))) isOver = true;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
}

async function openLoop(pace: Extract<Pace, { kind: 'open' }>, forMs: number, work: Work): Promise<void> {
  const startedMs = performance.now();
  const calls = Math.floor((forMs / 1000) * pace.callsPerSecond);
  const state: { inFlight: number; isOver: boolean; failure: unknown } = {
    inFlight: 0,
    isOver: false,
    failure: undefined,
  };
  const start = (intendedMs: number): void => {
    state.inFlight++;
    work(intendedMs)
      .then(
        (more) => (state.isOver ||= !more),
        (reason: unknown) => (state.failure ??= reason),
      )
      .finally(() => state.inFlight--);
  };
  for (let started = 0; started < calls && !state.isOver && state.failure === undefined;) {
    const dueMs = startedMs + (started * 1000) / pace.callsPerSecond;
    // Past the bound a call waits here, and the wait counts as its latency.
    if (performance.now() < dueMs || state.inFlight >= pace.inFlightMax) {
      await wait(TICK_MS);
      continue;
    }
    start(dueMs);
    started++;
  }
  while (state.inFlight > 0) await wait(TICK_MS);
  if (state.failure !== undefined) throw state.failure;
}
