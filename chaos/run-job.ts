import { Code, ConnectError } from '@connectrpc/connect';
import { clientOf } from '../demo/clients.ts';
import type { MeterdProcess } from '../demo/meterd-process.ts';
import { JobService } from '../gen/billing/v1/jobs_pb.ts';
import { retry } from '../src/lib/retry.ts';

const ATTEMPTS_MAX = 3_000;
const DELAY_MS = 20;

/** Runs a job of meterd. It may be running at this moment, as each job does at a start: then it is run after that. */
export async function runJob({ url, adminKey }: MeterdProcess, job: string, period = ''): Promise<void> {
  const jobs = clientOf(JobService, url, adminKey);
  await retry(() => jobs.runJob({ job, period }), {
    attemptsMax: ATTEMPTS_MAX,
    delayMs: DELAY_MS,
    delayMsMax: DELAY_MS,
    retryable: (reason) => reason instanceof ConnectError && reason.code === Code.Aborted,
  });
}
