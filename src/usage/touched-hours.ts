import { randomUUID } from 'node:crypto';
import type { ClickHouseClient } from '@clickhouse/client';
import { type QueryParameters, SETTINGS, select } from './select.ts';

/** An hour of a customer that windows were stored for since it was last rolled up. `hour` is in Unix seconds. */
export interface TouchedHour {
  readonly customerId: string;
  readonly hour: number;
}

/** The customer of hours that a notice without one touched. */
export const NOBODY = '';
/** Every hour that there is, in Unix seconds: `DateTime` has 32 bits. */
export const ALL_HOURS = { from: 0, until: 2 ** 32 - 1 };
/** An hour touched by more drains than this stays touched by the rest, and is computed again in the next run. */
export const DRAINS_MAX = 100_000;
/** Drain ids in one DELETE: 88 KiB of its address (see `value-bytes.ts`). */
const DELETE_DRAINS_MAX = 2_000;

/** The first touched hours behind `after`, by customer and hour: those of nobody come first. */
export async function touchedHours(
  clickhouse: ClickHouseClient,
  after: TouchedHour | undefined,
  limit: number,
  signal: AbortSignal,
): Promise<TouchedHour[]> {
  const from = after
    ? `WHERE customer_id >= {customer:String} AND (customer_id, hour) > ({customer:String}, toDateTime({hour:Int64}, 'UTC'))`
    : '';
  const rows = await select<{ customer_id: string; hour: number }>(
    clickhouse,
    `SELECT customer_id, toUnixTimestamp(touched_hours.hour) AS hour FROM touched_hours ${from}
     GROUP BY customer_id, touched_hours.hour ORDER BY customer_id, touched_hours.hour LIMIT {limit:UInt32}`,
    { limit, ...(after && { customer: after.customerId, hour: after.hour }) },
    signal,
  );
  return rows.map((row) => ({ customerId: row.customer_id, hour: row.hour }));
}

/** One customer's touched hours in `[fromHour, untilHour)`, in Unix seconds. */
export async function touchedHoursOf(
  clickhouse: ClickHouseClient,
  customerId: string,
  range: { readonly from: number; readonly until: number },
  signal: AbortSignal,
): Promise<number[]> {
  const rows = await select<{ hour: number }>(
    clickhouse,
    `SELECT DISTINCT toUnixTimestamp(touched_hours.hour) AS hour FROM touched_hours
     WHERE customer_id = {customer:String} AND touched_hours.hour >= toDateTime({from:Int64}, 'UTC') AND touched_hours.hour < toDateTime({until:Int64}, 'UTC')
     ORDER BY hour`,
    { customer: customerId, ...range },
    signal,
  );
  return rows.map((row) => row.hour);
}

/** Has a customer's hours computed anew; `hours` are Unix seconds on whole hours. */
export async function touchHours(
  clickhouse: ClickHouseClient,
  customerId: string,
  hours: readonly number[],
  signal: AbortSignal,
): Promise<void> {
  // An id of its own: a rollup under way removes the touches of the drains that it has seen, and this one is not among them.
  const drainId = randomUUID();
  const values = hours.map((hour) => ({ drain_id: drainId, customer_id: customerId, hour }));
  await clickhouse.insert({ table: 'touched_hours', values, format: 'JSONEachRow', abort_signal: signal });
}

/** The drains that touched any of these customers' hours, at most `limit` of them. */
export async function drainsOf(
  clickhouse: ClickHouseClient,
  touched: readonly TouchedHour[],
  limit: number,
  signal: AbortSignal,
): Promise<string[]> {
  const rows = await select<{ drain_id: string }>(
    clickhouse,
    `SELECT DISTINCT drain_id FROM touched_hours WHERE ${AMONG_TOUCHED} LIMIT {limit:UInt32}`,
    { ...touchedParameters(touched), limit },
    signal,
  );
  return rows.map((row) => row.drain_id);
}

/** Removes the touches of these hours by these drains. One that another drain added meanwhile stays. */
export async function removeTouches(
  clickhouse: ClickHouseClient,
  touched: readonly TouchedHour[],
  drainIds: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (let from = 0; from < drainIds.length; from += DELETE_DRAINS_MAX) {
    await clickhouse.command({
      query: `DELETE FROM touched_hours WHERE ${AMONG_TOUCHED} AND drain_id IN {drains:Array(UUID)}`,
      query_params: { ...touchedParameters(touched), drains: drainIds.slice(from, from + DELETE_DRAINS_MAX) },
      abort_signal: signal,
      clickhouse_settings: SETTINGS,
    });
  }
}

/** The condition for these customers' hours, with `touchedParameters`. */
export const AMONG_TOUCHED = `customer_id IN {touched_customers:Array(String)}
  AND (customer_id, hour) IN arrayZip({touched_customers:Array(String)}, {touched_hours:Array(DateTime('UTC'))})`;

export function touchedParameters(touched: readonly TouchedHour[]): QueryParameters {
  return {
    touched_customers: touched.map((each) => each.customerId),
    touched_hours: touched.map((each) => each.hour),
  };
}
