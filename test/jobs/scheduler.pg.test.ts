import { describe, expect, it } from 'vitest';
import { JobRuns } from '../../src/jobs/job-runs.ts';
import { type Job, Scheduler } from '../../src/jobs/scheduler.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { CallerFault } from '../../src/lib/failure.ts';
import { tryAdvisoryLock } from '../../src/storage/postgres/advisory-lock.ts';
import type { JobEvent } from '../../src/telemetry/events.ts';
import { postgresForTest } from '../database.ts';

const { db, pool } = await postgresForTest();
const runs = new JobRuns(db);
const stays = new AbortController().signal;
/** Never comes of itself: these tests say when a job runs. */
const NEVER = '0 0 29 2 1';

function schedulerOf(job: Job, { turnWaitMs = 0, onBusy = () => {} } = {}) {
  const told: { succeeded: JobEvent[]; failed: [string, unknown][] } = { succeeded: [], failed: [] };
  const scheduler = new Scheduler({
    jobs: [job],
    runs,
    clock: systemClock,
    turnWaitMs,
    tryLock: async (name, work) => {
      const outcome = await tryAdvisoryLock(pool, name, work);
      if (!outcome.held) onBusy();
      return outcome;
    },
    onSucceeded: (event) => told.succeeded.push(event),
    onFailed: (event, reason) => told.failed.push([event.period, reason]),
  });
  return { scheduler, told };
}

function jobOf(name: string, run: Job['run'], due: Job['due'] = async () => []): Job {
  return { name, schedule: NEVER, timeoutMs: 60_000, due, run };
}

describe('Scheduler', () => {
  it('notes a run with what it touched', async () => {
    const { scheduler, told } = schedulerOf(jobOf('noted', async (period) => `did ${period}`));
    const run = await scheduler.runNow('noted', '2026-09', stays);
    expect(run).toMatchObject({ job: 'noted', period: '2026-09', outcome: 'succeeded', detail: 'did 2026-09' });
    expect(run.endedAt?.getTime()).toBeGreaterThanOrEqual(run.startedAt.getTime());
    expect(await runs.list('noted', undefined, 10)).toEqual([run]);
    expect(told.succeeded).toHaveLength(1);
  });

  it('tells a failed run with its reason, and gives the reason to the caller', async () => {
    const fault = new CallerFault('failed_precondition', 'period', 'not over');
    const { scheduler, told } = schedulerOf(jobOf('failing', () => Promise.reject(fault)));
    await expect(scheduler.runNow('failing', '2026-09', stays)).rejects.toBe(fault);
    expect(await runs.list('failing', undefined, 10)).toMatchObject([{ outcome: 'failed', detail: 'not over' }]);
    expect(told.failed).toEqual([['2026-09', fault]]);
  });

  it('never runs a job beside itself, on this process or another', async () => {
    const entered = Promise.withResolvers<void>();
    const leave = Promise.withResolvers<string>();
    const job = jobOf('alone', () => {
      entered.resolve();
      return leave.promise;
    });
    const { scheduler } = schedulerOf(job);
    const { scheduler: elsewhere } = schedulerOf(job);
    const first = scheduler.runNow('alone', '', stays);
    await entered.promise;
    await expect(scheduler.runNow('alone', '', stays)).rejects.toMatchObject({ kind: 'aborted' });
    await expect(elsewhere.runNow('alone', '', stays)).rejects.toMatchObject({ kind: 'aborted' });
    leave.resolve('done');
    expect(await first).toMatchObject({ outcome: 'succeeded' });
    expect(await elsewhere.runNow('alone', '', stays)).toMatchObject({ outcome: 'succeeded' });
  });

  it('has a run by hand wait for the one under way, as there is one after each start', async () => {
    const entered = Promise.withResolvers<void>();
    const leave = Promise.withResolvers<string>();
    const isAskedFor = Promise.withResolvers<void>();
    const job = jobOf(
      'in-turn',
      (period) => {
        if (period !== 'due') return Promise.resolve('by hand');
        entered.resolve();
        return leave.promise;
      },
      async () => ['due'],
    );
    const { scheduler } = schedulerOf(job, { turnWaitMs: 60_000, onBusy: isAskedFor.resolve });
    scheduler.start();
    await entered.promise;
    const byHand = scheduler.runNow('in-turn', '', stays);
    await isAskedFor.promise;
    leave.resolve('at its time');
    expect(await byHand).toMatchObject({ outcome: 'succeeded', detail: 'by hand' });
    await scheduler.stop();
    const details = (await runs.list('in-turn', undefined, 10)).map(({ detail }) => detail);
    expect(details).toEqual(['by hand', 'at its time']);
  });

  it('no longer waits for its turn when the caller has left or meterd stops', async () => {
    const entered = Promise.withResolvers<void>();
    const leave = Promise.withResolvers<string>();
    const job = jobOf('left', () => {
      entered.resolve();
      return leave.promise;
    });
    const { scheduler } = schedulerOf(job, { turnWaitMs: 60_000 });
    const { scheduler: elsewhere } = schedulerOf(job, { turnWaitMs: 60_000 });
    const first = scheduler.runNow('left', '', stays);
    await entered.promise;
    const caller = new AbortController();
    const left = new Error('the caller left');
    const waiting = scheduler.runNow('left', '', caller.signal);
    caller.abort(left);
    await expect(waiting).rejects.toBe(left);
    const waitingElsewhere = elsewhere.runNow('left', '', stays);
    await elsewhere.stop();
    await expect(waitingElsewhere).rejects.toThrow('meterd stops');
    leave.resolve('done');
    expect(await first).toMatchObject({ outcome: 'succeeded' });
    expect(await runs.list('left', undefined, 10)).toHaveLength(1);
  });

  it('catches up at the start with what came due, oldest first; a failure holds up none behind it and stays due', async () => {
    const tried: string[] = [];
    const triedThree = Promise.withResolvers<void>();
    const triedFour = Promise.withResolvers<void>();
    let due = ['2026-01', '2026-02', '2026-03'];
    const job = jobOf(
      'caught-up',
      async (period) => {
        tried.push(period);
        if (tried.length === 2) throw new Error('not yet');
        due = due.filter((each) => each !== period);
        if (tried.length === 3) triedThree.resolve();
        if (tried.length === 4) triedFour.resolve();
        return '';
      },
      async () => due,
    );
    const first = schedulerOf(job);
    first.scheduler.start();
    await triedThree.promise;
    await first.scheduler.stop();
    expect(tried).toEqual(['2026-01', '2026-02', '2026-03']);
    expect(first.told.failed).toMatchObject([['2026-02', { message: 'not yet' }]]);
    const second = schedulerOf(job);
    second.scheduler.start();
    await triedFour.promise;
    await second.scheduler.stop();
    expect(tried).toEqual(['2026-01', '2026-02', '2026-03', '2026-02']);
    const outcomes = (await runs.list('caught-up', undefined, 10)).map(({ period, outcome }) => `${period} ${outcome}`);
    expect(outcomes).toEqual(['2026-02 succeeded', '2026-03 succeeded', '2026-02 failed', '2026-01 succeeded']);
  });

  it('starts no further period once it stops', async () => {
    const entered = Promise.withResolvers<void>();
    const untilStopped = (_: string, signal: AbortSignal): Promise<string> => {
      entered.resolve();
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    };
    const { scheduler, told } = schedulerOf(jobOf('stopping', untilStopped, async () => ['a', 'b']));
    scheduler.start();
    await entered.promise;
    await scheduler.stop();
    expect(await runs.list('stopping', undefined, 10)).toMatchObject([{ period: 'a', outcome: 'failed' }]);
    expect(told.failed).toEqual([]);
  });

  it('ends the row of a run whose process died', async () => {
    await runs.started('died', 'a', new Date());
    const { scheduler } = schedulerOf(jobOf('died', async () => 'well'));
    await scheduler.runNow('died', 'b', stays);
    expect(await runs.list('died', undefined, 10)).toMatchObject([
      { period: 'b', outcome: 'succeeded' },
      { period: 'a', outcome: 'failed', detail: 'the process ended before the run did' },
    ]);
  });

  it('forgets runs of over 90 days ago', async () => {
    const days = (count: number): Date => new Date(Date.now() - count * 86_400_000);
    for (const age of [91, 89])
      await runs.ended(await runs.started('old', `${age}`, days(age)), 'succeeded', '', days(age));
    const { scheduler } = schedulerOf(jobOf('old', async () => ''));
    await scheduler.runNow('old', 'now', stays);
    expect((await runs.list('old', undefined, 10)).map(({ period }) => period).toSorted()).toEqual(['89', 'now']);
  });

  it('ends a run that takes too long, and one that is under way when it stops', async () => {
    const untilEnded = (_: string, signal: AbortSignal): Promise<string> => {
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    };
    const slow = schedulerOf({ ...jobOf('slow', untilEnded), timeoutMs: 20 });
    await expect(slow.scheduler.runNow('slow', '', stays)).rejects.toMatchObject({ kind: 'unavailable' });
    const detail = 'job "slow" was ended after its 20 ms; what it did stands, run it again for the rest';
    expect(await runs.list('slow', undefined, 1)).toMatchObject([{ outcome: 'failed', detail }]);
    const stopped = schedulerOf(jobOf('stopped', untilEnded, async () => ['']));
    stopped.scheduler.start();
    await expect.poll(async () => (await runs.list('stopped', undefined, 1)).length).toBe(1);
    await stopped.scheduler.stop();
    expect(await runs.list('stopped', undefined, 1)).toMatchObject([{ outcome: 'failed', detail: 'meterd stops' }]);
  });

  it('knows its jobs', async () => {
    const { scheduler } = schedulerOf(jobOf('known', async () => ''));
    await expect(scheduler.runNow('unknown', '', stays)).rejects.toMatchObject({ kind: 'not_found' });
  });
});
