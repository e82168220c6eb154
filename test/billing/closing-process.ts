/**
 * A process that closes periods until none is due: the invoice job of meterd on its scheduler, on the engines that its
 * arguments name. It may be told to kill itself at a statement, as where power goes.
 */
import { Client } from 'pg';
import { UsageForBilling } from '../../src/usage/usage-for-billing.ts';
import { invoiceJob } from '../../src/jobs/invoice-job.ts';
import { JobRuns } from '../../src/jobs/job-runs.ts';
import { Scheduler } from '../../src/jobs/scheduler.ts';
import { connectClickHouse } from '../../src/storage/clickhouse/client.ts';
import { tryAdvisoryLock } from '../../src/storage/postgres/advisory-lock.ts';
import { connectPostgres } from '../../src/storage/postgres/client.ts';

/** The only argument, as JSON. */
export interface ClosingProcess {
  readonly clickHouseUrl: string;
  readonly postgresUrl: string;
  /** What every clock says. */
  readonly nowMs: number;
  /** Of processes with the same one, one at a time closes. */
  readonly lock: string;
  /** At which statement to PostgreSQL it dies, from 1; never where left out. */
  readonly dieAt?: number | undefined;
  /** Whether PostgreSQL has that statement by then. */
  readonly isSent?: boolean;
}

const EVERY_SECOND = '* * * * * *';

async function main(options: ClosingProcess): Promise<void> {
  if (options.dieAt !== undefined) dieAtStatement(options.dieAt, options.isSent === true);
  const postgres = connectPostgres(options.postgresUrl);
  const clickhouse = connectClickHouse({ url: options.clickHouseUrl });
  const usage = new UsageForBilling(clickhouse);
  const prefixes = { numberPrefix: 'INV-', creditNotePrefix: 'CN-' };
  const clock = { nowMs: () => options.nowMs, nowNanos: () => BigInt(options.nowMs) * 1_000_000n };
  const store = { db: postgres.db, clock, usage, graceMs: 86_400_000, ...prefixes };
  const job = invoiceJob({ schedule: EVERY_SECOND, store, settle: () => Promise.resolve() });
  const nothingIsDue = Promise.withResolvers<void>();
  const due = async (nowMs: number, signal: AbortSignal): Promise<readonly string[]> => {
    const periods = await job.due(nowMs, signal);
    if (periods.length === 0) nothingIsDue.resolve();
    return periods;
  };
  const scheduler = new Scheduler({
    jobs: [{ ...job, due }],
    runs: new JobRuns(postgres.db),
    clock,
    turnWaitMs: 0,
    tryLock: (name, work) => tryAdvisoryLock(postgres.pool, `${name}.${options.lock}`, work),
    onSucceeded: () => undefined,
    onFailed: (_, reason) => nothingIsDue.reject(reason),
  });
  scheduler.start();
  await nothingIsDue.promise;
  await scheduler.stop();
  await clickhouse.close();
  await postgres.close();
}

function dieAtStatement(dieAt: number, isSent: boolean): void {
  const query: unknown = Reflect.get(Client.prototype, 'query');
  if (typeof query !== 'function') throw new Error('the driver has no query to count');
  let statements = 0;
  const counting = new Proxy(query, {
    apply(target, client, given) {
      const isLast = ++statements === dieAt;
      if (isLast && !isSent) process.kill(process.pid, 'SIGKILL');
      const answer: unknown = Reflect.apply(target, client, given);
      if (isLast) process.kill(process.pid, 'SIGKILL');
      return answer;
    },
  });
  Object.assign(Client.prototype, { query: counting });
}

const [, , given] = process.argv;
if (given === undefined) throw new Error('which engines, and when to die, has to be given as JSON');
const options: ClosingProcess = JSON.parse(given);
await main(options);
