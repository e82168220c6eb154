import { Code, ConnectError } from '@connectrpc/connect';
import { clientOf } from '../demo/clients.ts';
import type { MeterdProcess } from '../demo/meterd-process.ts';
import { JobService } from '../gen/billing/v1/jobs_pb.ts';
import { retry } from '../src/lib/retry.ts';

/** Each takes a minute or more, where it is not the run that ends. */
const TRIES_MAX = 30;
const RETRY_MS = 1_000;

/**
 * Runs a job of meterd to its end, after the run under way at this moment, as there is one at each start. With tens of millions of windows
 * to roll up, that run takes longer than its turn is waited for, a run longer than a call may, and longer than a run may.
 */
export async function runJob({ url, adminKey }: MeterdProcess, job: string, period = ''): Promise<void> {
  const jobs = clientOf(JobService, url, adminKey);
  await retry(() => jobs.runJob({ job, period }), {
    attemptsMax: TRIES_MAX,
    delayMs: RETRY_MS,
    delayMsMax: RETRY_MS,
    retryable: (reason) => reason instanceof ConnectError && isUnderWay(reason),
  });
}

function isUnderWay({ code, message }: ConnectError): boolean {
  return code === Code.Aborted || code === Code.DeadlineExceeded || message.includes('was ended after its');
}
