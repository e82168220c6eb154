import type { ClickHouseClient } from '@clickhouse/client';
import { earliestUnsettled } from '../billing/invoice/unsettled.ts';
import type { BillingStore } from '../billing/store.ts';
import { expiredMonths, removeExpired, type RetentionOptions } from '../usage/retention.ts';
import type { Job } from './scheduler.ts';

export interface RetentionJobOptions {
  readonly schedule: string;
  readonly store: BillingStore;
  readonly clickhouse: ClickHouseClient;
  readonly rawDays: number;
  readonly hoursDays: number;
}

const TIMEOUT_MS = 600_000;

/** Removes what is kept for no longer, month by month. It has no periods: a run takes all that has expired. */
export function retentionJob(options: RetentionJobOptions): Job {
  const { schedule, store, clickhouse, rawDays, hoursDays } = options;
  const now = async (signal: AbortSignal): Promise<RetentionOptions> => {
    const keepFrom = await earliestUnsettled(store, signal);
    return { clickhouse, rawDays, hoursDays, nowMs: store.clock.nowMs(), keepFrom, signal };
  };
  return {
    name: 'retention',
    schedule,
    timeoutMs: TIMEOUT_MS,
    due: async (_, signal) => ((await expiredMonths(await now(signal))).length > 0 ? [''] : []),
    async run(_, signal) {
      const removed = await removeExpired(await now(signal));
      const months = removed.map(({ table, month }) => `${table} ${month}`);
      return months.length === 0 ? 'nothing has expired' : `removed ${months.join(', ')}`;
    },
  };
}
