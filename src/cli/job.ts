import { setTimeout as wait } from 'node:timers/promises';
import type { Client } from '@connectrpc/connect';
import type { Command } from 'commander';
import { InvoiceService } from '../../gen/billing/v1/invoices_pb.ts';
import { JobOutcome, type JobRun, JobRunSchema, JobService } from '../../gen/billing/v1/jobs_pb.ts';
import { Progress } from './progress.ts';
import { DoesNotHold, everyPage, type Session } from './session.ts';
import type { Columns } from './table.ts';
import { named, shown } from './values.ts';

const COLUMNS: Columns<JobRun> = {
  Job: (row) => row.job,
  Period: (row) => row.period,
  Started: (row) => shown(row.startedAt),
  Ended: (row) => shown(row.endedAt),
  Outcome: (row) => named(JobOutcome, row.outcome),
  Detail: (row) => row.detail,
};
const POLL_MS = 1000;

/** `meterd job …`: the work that runs on a schedule. */
export function jobCommands(program: Command, session: Session): void {
  const group = program.command('job').description('the work that runs on a schedule');
  group
    .command('run <job>')
    .description('now: rollup, invoices, retention or audit-anchor')
    .option('--period <month>', 'for invoices: the month to close', '')
    .action(async (job: string, { period }: { period: string }) => {
      const jobs = await session.client(JobService);
      const running = jobs.runJob({ job, period });
      const isClosing = job === 'invoices' && period !== '';
      const { run } = await (isClosing ? withProgress(running, await session.client(InvoiceService), period) : running);
      session.show(JobRunSchema, run, COLUMNS);
      if (run?.outcome !== JobOutcome.SUCCEEDED) throw new DoesNotHold(`job ${job} did not succeed`);
    });
  group
    .command('list')
    .description('runs, newest first')
    .option('--job <job>', '', '')
    .action(async ({ job }: { job: string }) => {
      const jobs = await session.client(JobService);
      await session.list({
        schema: JobRunSchema,
        ask: (page) => jobs.listJobRuns({ ...page, job }),
        rows: (answer) => answer.runs,
        columns: COLUMNS,
      });
    });
}

/** Shows how many customers are settled while the job runs. That this cannot be told does not keep the job from running. */
async function withProgress<T>(
  running: Promise<T>,
  invoices: Client<typeof InvoiceService>,
  period: string,
): Promise<T> {
  const progress = new Progress(`Closing ${period}`);
  const ended = new AbortController();
  const show = async (): Promise<void> => {
    const ask = (page: object) => invoices.listClosings({ ...page, period }, { signal: ended.signal });
    const closings = await everyPage({ ask, rows: (answer) => answer.closings });
    progress.show(closings.filter(({ settled }) => settled).length, closings.length);
  };
  const poll = async (): Promise<void> => {
    for (;;) {
      await wait(POLL_MS, undefined, { signal: ended.signal });
      await show();
    }
  };
  // The bar is only for show: what counts is how the run itself ends, and that is not passed over.
  const polling = poll().catch(() => undefined);
  try {
    return await running;
  } finally {
    await show().catch(() => undefined);
    ended.abort();
    await polling;
  }
}
