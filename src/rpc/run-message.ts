import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { JobOutcome, type JobRunSchema } from '../../gen/billing/v1/jobs_pb.ts';
import type { JobRun } from '../jobs/job-runs.ts';

const OUTCOMES = {
  running: JobOutcome.RUNNING,
  succeeded: JobOutcome.SUCCEEDED,
  failed: JobOutcome.FAILED,
} as const satisfies Record<JobRun['outcome'], JobOutcome>;

export function toRunMessage(run: JobRun): MessageInitShape<typeof JobRunSchema> {
  return {
    runId: run.runId,
    job: run.job,
    period: run.period,
    startedAt: timestampFromDate(run.startedAt),
    outcome: OUTCOMES[run.outcome],
    detail: run.detail,
    ...(run.endedAt === undefined ? {} : { endedAt: timestampFromDate(run.endedAt) }),
  };
}
