import { randomUUIDv7 } from 'node:crypto';
import type { Kysely, Selectable } from 'kysely';
import type { Database } from '../storage/postgres/schema.ts';

export type JobOutcome = 'running' | 'succeeded' | 'failed';

/** One run of a job, as stored. */
export interface JobRun {
  readonly runId: string;
  readonly job: string;
  readonly period: string;
  readonly startedAt: Date;
  readonly endedAt: Date | undefined;
  readonly outcome: JobOutcome;
  /** What it touched, or why it failed. */
  readonly detail: string;
}

const DETAIL_LENGTH_MAX = 10_000;
/** A job of every minute leaves half a million rows a year. */
const KEPT_MS = 90 * 86_400_000;

/** The runs in Postgres. Ids rise with time, so that order by id is order by start. */
export class JobRuns {
  readonly #db: Kysely<Database>;

  constructor(db: Kysely<Database>) {
    this.#db = db;
  }

  /**
   * Notes a start, and forgets the job's runs of over 90 days ago. Call it under the job's lock: rows of the same job that
   * still run are then of processes that died.
   */
  async started(job: string, period: string, at: Date): Promise<string> {
    const keptFrom = new Date(at.getTime() - KEPT_MS);
    await this.#db.deleteFrom('job_runs').where('job', '=', job).where('started_at', '<', keptFrom).execute();
    await this.#db
      .updateTable('job_runs')
      .set({ ended_at: at, outcome: 'failed', detail: 'the process ended before the run did' })
      .where('job', '=', job)
      .where('outcome', '=', 'running')
      .execute();
    const id = randomUUIDv7();
    const row = { id, job, period, started_at: at, ended_at: null, outcome: 'running', detail: '' } as const;
    await this.#db.insertInto('job_runs').values(row).execute();
    return id;
  }

  async ended(runId: string, outcome: JobOutcome, detail: string, at: Date): Promise<JobRun> {
    const row = await this.#db
      .updateTable('job_runs')
      .set({ ended_at: at, outcome, detail: detail.slice(0, DETAIL_LENGTH_MAX) })
      .where('id', '=', runId)
      .returningAll()
      .executeTakeFirstOrThrow();
    return toRun(row);
  }

  /** Newest first; those before `beforeId` where it is given; of all jobs where `job` is empty. */
  async list(job: string, beforeId: string | undefined, limit: number): Promise<JobRun[]> {
    let query = this.#db.selectFrom('job_runs').selectAll().orderBy('id', 'desc').limit(limit);
    if (job !== '') query = query.where('job', '=', job);
    if (beforeId !== undefined) query = query.where('id', '<', beforeId);
    return (await query.execute()).map(toRun);
  }
}

function toRun(row: Selectable<Database['job_runs']>): JobRun {
  return {
    runId: row.id,
    job: row.job,
    period: row.period,
    startedAt: row.started_at,
    endedAt: row.ended_at ?? undefined,
    outcome: row.outcome,
    detail: row.detail,
  };
}
