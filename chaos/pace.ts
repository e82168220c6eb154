import { setTimeout as wait } from 'node:timers/promises';

/** Spreads amounts over time: each call waits until what was taken before has had its time at so much a second. */
export function paced(perSecond: number): (amount: number) => Promise<void> {
  const startedMs = performance.now();
  let taken = 0;
  return async (amount) => {
    taken += amount;
    const earlyMs = (taken / perSecond) * 1000 - (performance.now() - startedMs);
    if (earlyMs > 0) await wait(earlyMs);
  };
}
