import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { expect, it } from 'vitest';
import { rollupFigures } from '../../chaos/rollup-runs.ts';
import { JobOutcome, type JobRun, JobRunSchema } from '../../gen/billing/v1/jobs_pb.ts';

const SECOND = 1_000;
const OUTAGE = { fromMs: 100 * SECOND, untilMs: 101 * SECOND };

/** @param from @param until in seconds */
function run(outcome: JobOutcome, from: number, until: number): JobRun {
  const [startedAt, endedAt] = [from, until].map((at) => timestampFromMs(at * SECOND));
  const ended = outcome === JobOutcome.RUNNING ? {} : { endedAt };
  return create(JobRunSchema, { runId: `${from}`, outcome, startedAt, ...ended, detail: 'why' });
}

function failed(runs: readonly (readonly [number, number])[]): string[] {
  const all = runs.map(([from, until]) => run(JobOutcome.FAILED, from, until));
  return rollupFigures(all, [OUTAGE]).reasons;
}

it('count the runs that ended, each by how', () => {
  const outcomes = [JobOutcome.SUCCEEDED, JobOutcome.FAILED, JobOutcome.RUNNING, JobOutcome.SUCCEEDED];
  const runs = outcomes.map((outcome) => run(outcome, 0, 10));
  expect(rollupFigures(runs, [])).toMatchObject({ rollups: 2, rollupsFailed: 1 });
});

it('leave out a failure that ClickHouse was away for, from its kill until shortly behind its start', () => {
  expect(
    failed([
      [50, 100],
      [100, 101],
      [90, 200],
      [131, 140],
    ]),
  ).toEqual([]);
  expect(failed([[50, 99]])).toEqual(['run 50 of the rollup failed: why']);
  expect(failed([[132, 140]])).toEqual(['run 132 of the rollup failed: why']);
});
