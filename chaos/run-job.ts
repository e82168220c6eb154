import { ConnectError } from '@connectrpc/connect';
import { clientOf } from '../demo/clients.ts';
import type { MeterdProcess } from '../demo/meterd-process.ts';
import { JobService } from '../gen/billing/v1/jobs_pb.ts';
import { retry } from '../src/lib/retry.ts';

/** A job with hours of work does a quarter of an hour of it at a time. */
const RUNS_MAX = 8;
const RETRY_MS = 1_000;

/** Runs a job of meterd to its end, after the run under way at this moment, as there is one at each start. */
export async function runJob({ url, adminKey }: MeterdProcess, job: string, period = ''): Promise<void> {
  const jobs = clientOf(JobService, url, adminKey);
  await retry(() => jobs.runJob({ job, period }), {
    attemptsMax: RUNS_MAX,
    delayMs: RETRY_MS,
    delayMsMax: RETRY_MS,
    retryable: (reason) => reason instanceof ConnectError && reason.message.includes('was ended after its'),
  });
}
