import type { MessageInitShape } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import type { RunJobRequest, RunJobResponseSchema } from '../../gen/billing/v1/jobs_pb.ts';
import type { JobRun } from '../jobs/job-runs.ts';
import { toRunMessage } from './run-message.ts';

/** What runs jobs by hand: the scheduler. */
export interface JobRunner {
  runNow(job: string, period: string, signal: AbortSignal): Promise<JobRun>;
}

export function runJob(runner: JobRunner) {
  return async (
    request: RunJobRequest,
    { signal }: HandlerContext,
  ): Promise<MessageInitShape<typeof RunJobResponseSchema>> => {
    return { run: toRunMessage(await runner.runNow(request.job, request.period, signal)) };
  };
}
