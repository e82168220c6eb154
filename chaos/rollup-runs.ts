import { timestampMs } from '@bufbuild/protobuf/wkt';
import { clientOf } from '../demo/clients.ts';
import type { MeterdProcess } from '../demo/meterd-process.ts';
import { type JobRun, JobOutcome, JobService } from '../gen/billing/v1/jobs_pb.ts';

/** A time in which ClickHouse was not there, in Unix milliseconds. */
export interface Outage {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Behind an outage meterd tries again by and by: a run that begins so soon may still find its way closed. */
const RECOVERY_MS = 30_000;
const RUNS_MAX = 1_000;

/** `rollups` that succeeded, and `rollupsFailed` with ClickHouse there all the time; why, in `reasons`. */
interface RollupFigures {
  readonly rollups: number;
  readonly rollupsFailed: number;
  readonly reasons: string[];
}

/** How the rollup's runs ended so far. */
export async function rollupRuns({ url, adminKey }: MeterdProcess, outages: readonly Outage[]): Promise<RollupFigures> {
  const { runs } = await clientOf(JobService, url, adminKey).listJobRuns({ job: 'rollup', pageSize: RUNS_MAX });
  return rollupFigures(runs, outages);
}

/** A run under way is not counted. */
export function rollupFigures(runs: readonly JobRun[], outages: readonly Outage[]): RollupFigures {
  const failed = runs.filter((run) => run.outcome === JobOutcome.FAILED && !outages.some((each) => meets(run, each)));
  return {
    rollups: runs.filter(({ outcome }) => outcome === JobOutcome.SUCCEEDED).length,
    rollupsFailed: failed.length,
    reasons: failed.map(({ runId, detail }) => `run ${runId} of the rollup failed: ${detail}`),
  };
}

function meets({ startedAt, endedAt }: JobRun, { fromMs, untilMs }: Outage): boolean {
  if (startedAt === undefined || endedAt === undefined) return false;
  return timestampMs(startedAt) <= untilMs + RECOVERY_MS && timestampMs(endedAt) >= fromMs;
}
