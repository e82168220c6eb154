import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListJobRunsRequest, ListJobRunsResponseSchema } from '../../gen/billing/v1/jobs_pb.ts';
import type { JobRuns } from '../jobs/job-runs.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';
import { toRunMessage } from './run-message.ts';

const RUN_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function listJobRuns(runs: JobRuns) {
  return async (request: ListJobRunsRequest): Promise<MessageInitShape<typeof ListJobRunsResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const rows = await runs.list(request.job, fromPageToken(request.pageToken, RUN_ID), size + 1);
    const { page, nextPageToken } = pageOf(rows, size, (run) => run.runId);
    return { runs: page.map(toRunMessage), nextPageToken };
  };
}
