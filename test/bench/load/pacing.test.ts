import { expect, it } from 'vitest';
import { paced } from '../../../bench/load/pacing.ts';

it('counts the time that a call waited for its turn as latency', async () => {
  const latenciesMs: number[] = [];
  // One call at a time, each longer than the timetable allows: every call is later than the one before.
  await paced({ kind: 'open', callsPerSecond: 1000, inFlightMax: 1 }, 20, async (intendedMs) => {
    await new Promise<void>((resolve) => void setTimeout(resolve, 5));
    latenciesMs.push(performance.now() - intendedMs);
    return true;
  });
  expect(latenciesMs).toHaveLength(20);
  expect(latenciesMs.at(-1)).toBeGreaterThan(20 * 5 - 20 - 5);
});

it('keeps so many calls under way, and stops when there is nothing more to send', async () => {
  let underWay = 0;
  let most = 0;
  let calls = 0;
  await paced({ kind: 'closed', inFlight: 4 }, 60_000, async () => {
    most = Math.max(most, ++underWay);
    await new Promise<void>((resolve) => setImmediate(resolve));
    underWay--;
    return ++calls < 40;
  });
  expect(most).toBe(4);
  expect(calls).toBeGreaterThanOrEqual(40);
});

it('fails with the first call that fails', async () => {
  const work = (): Promise<boolean> => Promise.reject(new Error('refused'));
  await expect(paced({ kind: 'open', callsPerSecond: 100, inFlightMax: 9 }, 1000, work)).rejects.toThrow('refused');
  await expect(paced({ kind: 'closed', inFlight: 3 }, 1000, work)).rejects.toThrow('refused');
});
