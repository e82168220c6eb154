import type { ClickHouseClient } from '@clickhouse/client';
import { HOUR_SECONDS, select } from './select.ts';

/** What is kept how long. */
export interface RetentionOptions {
  readonly clickhouse: ClickHouseClient;
  readonly nowMs: number;
  /** How late windows may be at most. They, and all else that hours are computed from, are kept for the longest billing period more. */
  readonly rawDays: number;
  /** Of hours and estimates. */
  readonly hoursDays: number;
  /** Nothing from this instant on is removed, however old: it is still to be billed. */
  readonly keepFrom: Date | undefined;
  readonly signal: AbortSignal;
}

/** One month of a table, which is a partition of it. */
export interface ExpiredMonth {
  readonly table: string;
  /** "202609" */
  readonly month: string;
}

const RAW_TABLES = ['windows', 'counter_samples', 'vm_events', 'conflict_resolutions', 'conflicting_readings'];
const HOUR_TABLES = ['usage_hours', 'usage_estimates'];
const DAY_MS = 86_400_000;
/**
 * No billing period is longer. A late window has its whole period billed anew, and the hour that the period, or a plan in it, begins in the
 * middle of is cut from its windows: without them it would come to nothing, and what was billed of it be given back.
 */
const PERIOD_MS = 32 * DAY_MS;
const HOUR_MS = HOUR_SECONDS * 1000;

/**
 * The months that are kept for no longer, oldest first. A month expires as a whole, once its last instant is old enough.
 * One of which an hour waits for the rollup is kept: the hour would be computed from what is left. So is one before
 * such an hour at the start of the next month, since a window may reach over.
 * @throws what ClickHouse reports; the signal's reason
 */
export async function expiredMonths(options: RetentionOptions): Promise<ExpiredMonth[]> {
  const { clickhouse, nowMs, rawDays, hoursDays, keepFrom, signal } = options;
  const stored = await select<ExpiredMonth>(
    clickhouse,
    `SELECT DISTINCT table, partition_id AS month FROM system.parts
     WHERE database = currentDatabase() AND active AND table IN {tables:Array(String)} ORDER BY month, table`,
    { tables: [...RAW_TABLES, ...HOUR_TABLES] },
    signal,
  );
  const waiting = await select<{ hour: number }>(
    clickhouse,
    'SELECT DISTINCT toUnixTimestamp(touched_hours.hour) AS hour FROM touched_hours',
    {},
    signal,
  );
  const waitingMs = waiting.map(({ hour }) => hour * 1000);
  const keepFromMs = keepFrom?.getTime() ?? Number.POSITIVE_INFINITY;
  return stored.filter(({ table, month }) => {
    const { startMs, endMs } = boundsOf(month);
    const keptMs = RAW_TABLES.includes(table) ? rawDays * DAY_MS + PERIOD_MS : hoursDays * DAY_MS;
    // Its last window may reach an hour further, into what is still to be billed or may still get late windows.
    if (endMs + HOUR_MS > Math.min(nowMs - keptMs, keepFromMs)) return false;
    return !waitingMs.some((hourMs) => hourMs >= startMs && hourMs <= endMs);
  });
}

/** Removes the months that are kept for no longer. @returns which @throws as `expiredMonths` */
export async function removeExpired(options: RetentionOptions): Promise<ExpiredMonth[]> {
  const expired = await expiredMonths(options);
  for (const { table, month } of expired) {
    options.signal.throwIfAborted();
    await options.clickhouse.command({
      query: `ALTER TABLE ${table} DROP PARTITION ID '${month}'`,
      abort_signal: options.signal,
    });
  }
  return expired;
}

/** @param month "202609" */
function boundsOf(month: string): { startMs: number; endMs: number } {
  if (!/^\d{6}$/.test(month)) throw new Error(`partition ${month} is no month`);
  const [year, number] = [Number(month.slice(0, 4)), Number(month.slice(4))];
  return { startMs: Date.UTC(year, number - 1), endMs: Date.UTC(year, number) };
}
