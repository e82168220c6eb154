import { clientOf } from '../demo/clients.ts';
import type { MeterdProcess } from '../demo/meterd-process.ts';
import { JobService } from '../gen/billing/v1/jobs_pb.ts';

/** Runs a job of meterd, after the run under way at this moment, as there is one at each start. */
export async function runJob({ url, adminKey }: MeterdProcess, job: string, period = ''): Promise<void> {
  await clientOf(JobService, url, adminKey).runJob({ job, period });
}
