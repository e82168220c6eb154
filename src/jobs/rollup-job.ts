import type { ClickHouseClient } from '@clickhouse/client';
import type { Clock } from '../lib/clock.ts';
import { rollUp } from '../usage/rollup.ts';
import { touchedHours } from '../usage/touched-hours.ts';
import type { Job } from './scheduler.ts';

export interface RollupJobOptions {
  readonly schedule: string;
  /** With the patience for statements over tens of millions of windows. */
  readonly clickhouse: ClickHouseClient;
  readonly clock: Clock;
  /** Waits until what this process has acknowledged is stored; rolled up is then what hosts were told is safe. */
  readonly settle: (signal: AbortSignal) => Promise<void>;
}

const TIMEOUT_MS = 900_000;

/** Computes the hours that new windows touched. It has no periods: a run takes all that is touched. */
export function rollupJob(options: RollupJobOptions): Job {
  const { clickhouse, clock, settle } = options;
  return {
    name: 'rollup',
    schedule: options.schedule,
    timeoutMs: TIMEOUT_MS,
    due: async (_, signal) => ((await touchedHours(clickhouse, undefined, 1, signal)).length > 0 ? [''] : []),
    async run(_, signal) {
      await settle(signal);
      const { hours, rows } = await rollUp({ clickhouse, clock, signal });
      return `${hours} hours rolled up, ${rows} rows written`;
    },
  };
}
