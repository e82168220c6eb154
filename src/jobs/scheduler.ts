import { Cron } from 'croner';
import type { Clock } from '../lib/clock.ts';
import { CallerFault, messageOf, NotNow } from '../lib/failure.ts';
import { retry } from '../lib/retry.ts';
import type { LockedWork, TryLockOutcome } from '../storage/postgres/advisory-lock.ts';
import type { JobEvent } from '../telemetry/events.ts';
import type { JobRun, JobRuns } from './job-runs.ts';

/** Work that runs on a schedule and by hand. Running it again for the same period changes nothing. */
export interface Job {
  readonly name: string;
  /** Cron expression, in UTC. */
  readonly schedule: string;
  readonly timeoutMs: number;
  /** The periods that are due now, oldest first: what was missed while down is caught up in order. */
  due(nowMs: number, signal: AbortSignal): Promise<readonly string[]>;
  /**
   * @param period what `due` named or a caller asked for
   * @returns what it touched, for people
   */
  run(period: string, signal: AbortSignal): Promise<string>;
}

export interface SchedulerOptions {
  readonly jobs: readonly Job[];
  readonly runs: JobRuns;
  readonly clock: Clock;
  /** How long a run by hand waits for one under way. */
  readonly turnWaitMs: number;
  /** Runs `work` unless another process holds the lock of that name. */
  readonly tryLock: <T>(name: string, work: LockedWork<T>) => Promise<TryLockOutcome<T>>;
  readonly onSucceeded: (event: JobEvent) => void;
  readonly onFailed: (event: JobEvent, reason: unknown) => void;
}

const TURN_DELAY_MS = 50;
const TURN_DELAY_MS_MAX = 1_000;

/**
 * Runs the jobs of this process: each at its times, never beside itself here or on another replica (a Postgres advisory
 * lock per job), each run a row with its outcome.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #stop = new AbortController();
  readonly #crons: Cron[] = [];
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  get names(): string[] {
    return this.#options.jobs.map((job) => job.name);
  }

  /** From here on jobs run at their times; what came due while down runs at once. */
  start(): void {
    for (const job of this.#options.jobs) {
      const cron = new Cron(job.schedule, { timezone: 'UTC', protect: true }, () => this.#runDue(job));
      this.#crons.push(cron);
      void cron.trigger();
    }
  }

  /** Ends the schedule and the runs under way. */
  async stop(): Promise<void> {
    for (const cron of this.#crons) cron.stop();
    this.#stop.abort(new Error('meterd stops'));
    await Promise.allSettled(this.#underWay);
  }

  /**
   * Runs a job now, or once the run under way has ended: one is under way after each start.
   * @param signal ends the waiting, not the run
   * @throws CallerFault not_found, aborted where its turn does not come in time; NotNow where it takes longer than it may; what
   *   the job throws
   */
  async runNow(name: string, period: string, signal: AbortSignal): Promise<JobRun> {
    const job = this.#options.jobs.find((each) => each.name === name);
    if (job === undefined) {
      throw new CallerFault('not_found', 'job', `job: "${name}" is not one of ${this.names.join(', ')}`);
    }
    const { turnWaitMs } = this.#options;
    const untilMs = performance.now() + turnWaitMs;
    const inTurn = async (): Promise<JobRun> => {
      const run = await this.#runLocked(job, period);
      if (run === undefined) throw new JobBusy(name, turnWaitMs);
      return run;
    };
    return retry(inTurn, {
      attemptsMax: Number.POSITIVE_INFINITY,
      delayMs: TURN_DELAY_MS,
      delayMsMax: TURN_DELAY_MS_MAX,
      signal: AbortSignal.any([this.#stop.signal, signal]),
      retryable: (reason) => reason instanceof JobBusy && performance.now() < untilMs,
    }).catch((reason: unknown) => {
      throw reason instanceof JobFailed ? reason.cause : reason;
    });
  }

  /** One period after the other. One that fails holds up none behind it: it stays due, and is tried again at the next time. */
  async #runDue(job: Job): Promise<void> {
    try {
      for (const period of await job.due(this.#options.clock.nowMs(), this.#stop.signal)) {
        this.#stop.signal.throwIfAborted();
        await this.#runLocked(job, period).catch(untold);
      }
    } catch (reason) {
      // This is a `due` or a lock that could not be asked for.
      if (!this.#stop.signal.aborted) {
        this.#options.onFailed({ job: job.name, period: '', durationMs: 0, detail: messageOf(reason) }, reason);
      }
    }
  }

  /** @returns undefined where the job is running elsewhere */
  async #runLocked(job: Job, period: string): Promise<JobRun | undefined> {
    const locked = this.#options.tryLock(`meterd.job.${job.name}`, (lost) => this.#runOnce(job, period, lost));
    this.#underWay.add(locked);
    try {
      const outcome = await locked;
      return outcome.held ? outcome.result : undefined;
    } finally {
      this.#underWay.delete(locked);
    }
  }

  async #runOnce(job: Job, period: string, lost: AbortSignal): Promise<JobRun> {
    const { runs, clock, onSucceeded, onFailed } = this.#options;
    const startedMs = clock.nowMs();
    const runId = await runs.started(job.name, period, new Date(startedMs));
    const tooLong = AbortSignal.timeout(job.timeoutMs);
    const signal = AbortSignal.any([this.#stop.signal, lost, tooLong]);
    const event = (detail: string): JobEvent => {
      return { job: job.name, period, durationMs: clock.nowMs() - startedMs, detail };
    };
    try {
      const detail = await job.run(period, signal);
      const run = await runs.ended(runId, 'succeeded', detail, new Date(clock.nowMs()));
      onSucceeded(event(detail));
      return run;
    } catch (thrown) {
      const reason = tooLong.aborted ? new JobTooLong(job, thrown) : thrown;
      await runs.ended(runId, 'failed', messageOf(reason), new Date(clock.nowMs()));
      // A run that stopping cut short is no failure to look into: its period stays due.
      if (!this.#stop.signal.aborted) onFailed(event(messageOf(reason)), reason);
      throw new JobFailed(reason);
    }
  }
}

/** A run that failed and was told of; `cause` is why. */
class JobFailed extends Error {
  constructor(cause: unknown) {
    super(messageOf(cause), { cause });
    this.name = 'JobFailed';
  }
}

/** @throws the reason, unless it is a failed run, which has told of itself already */
function untold(reason: unknown): void {
  if (!(reason instanceof JobFailed)) throw reason;
}

/** The run was ended at its time. What it did by then stands, and it goes on there when it runs again. */
class JobTooLong extends NotNow {
  constructor({ name, timeoutMs }: Job, cause: unknown) {
    const message = `job "${name}" was ended after its ${timeoutMs} ms; what it did stands, run it again for the rest`;
    super('unavailable', TURN_DELAY_MS_MAX, message);
    this.cause = cause;
  }
}

/** The job runs already, here or on another replica, and did so for as long as was waited. */
class JobBusy extends CallerFault {
  constructor(job: string, waitedMs: number) {
    super('aborted', 'job', `job: "${job}" is running already, and was so for ${waitedMs} ms; try again`);
  }
}
