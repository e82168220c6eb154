import { randomUUID } from 'node:crypto';
import type { ClickHouseClient } from '@clickhouse/client';
import { IS_READ } from './derived-windows.ts';
import { HOUR_NANOS, HOUR_SECONDS, type QueryParameters, SETTINGS, select } from './select.ts';
import { type TouchedHour, touchedParameters } from './touched-hours.ts';

/** VMs × days of readings in one statement, which may take 30 seconds: some 1,440 readings each. */
const VM_DAYS_MAX = 20_000;
/** How far before a late reading one is looked for that shows its boot to be older. */
const BEFORE_SECONDS = 24 * HOUR_SECONDS;

const isTouched = (hour: string) => `(customer_id, ${hour}) IN (SELECT customer_id, hour FROM touched_hours)`;

/**
 * The condition on `counter_samples` for readings in the pairs' hours that came over an hour late: whatever is further from a reading
 * than the hours it touched itself was read later than that. Mostly there are none.
 */
const LATE = `boot_id != '' AND customer_id IN {touched_customers:Array(String)}
  AND sampled_at >= toDateTime64({first:Int64}, 9, 'UTC') AND sampled_at < toDateTime64({last:Int64} + ${HOUR_SECONDS}, 9, 'UTC')
  AND (customer_id, toStartOfHour(sampled_at)) IN arrayZip({touched_customers:Array(String)}, {touched_hours:Array(DateTime('UTC'))})
  AND toInt64(9223372036854775807 - precedence) - reinterpretAsInt64(sampled_at) > ${HOUR_NANOS}`;

/**
 * The first reading of a boot counts from zero. One that comes late takes that from the reading that was the first so far, however far
 * behind it: touches the hours of that one's window, so that they are computed anew too. Of the readings in hours that are not touched it
 * is the first, since all before it are new; the late one's own hour may be there too, where the hour before is computed already. Where the boot had begun over a day earlier still, these hours are computed once more in vain.
 *
 * Must have ended before touches of the pairs are removed: where it fails, they stay, and the next run does it again. Very many late
 * readings are looked through in parts, so that no number of them makes a statement too long for each run anew.
 * @returns whether it touched any hour
 * @throws what ClickHouse reports; the signal's reason
 */
export async function touchMovedBoots(
  clickhouse: ClickHouseClient,
  touched: readonly TouchedHour[],
  signal: AbortSignal,
  vmDaysMax = VM_DAYS_MAX,
): Promise<boolean> {
  const hours = touched.map((each) => each.hour);
  const parameters = { ...touchedParameters(touched), first: Math.min(...hours), last: Math.max(...hours) };
  const [late] = await select<{ since: number; parts: number }>(
    clickhouse,
    `SELECT toUnixTimestamp(toStartOfHour(min(sampled_at))) AS since,
       intDiv(greatest(toInt64(toUnixTimestamp(now())) - since, 0), 86400) + 1 AS days,
       toUInt32(intDiv(uniq(customer_id, vm_id) * days + {vm_days_max:UInt32} - 1, {vm_days_max:UInt32})) AS parts
     FROM counter_samples WHERE ${LATE}`,
    { ...parameters, vm_days_max: vmDaysMax },
    signal,
  );
  if (late === undefined) throw new Error('the count of late readings came back without its row');
  let rows = 0;
  for (let part = 0; part < late.parts; part++) {
    rows += await touchPart(clickhouse, { ...parameters, ...late, part }, signal);
  }
  return rows > 0;
}

/** @returns how many touches were written */
async function touchPart(
  clickhouse: ClickHouseClient,
  parameters: QueryParameters,
  signal: AbortSignal,
): Promise<number> {
  const result = await clickhouse.command({
    query: `INSERT INTO touched_hours (drain_id, customer_id, hour)
      SELECT DISTINCT {drain:UUID}, customer_id, arrayJoin([subtractHours(moved, 1), moved]) FROM (
        SELECT customer_id, arraySort(groupUniqArrayIf(toStartOfHour(sampled_at), is_old)) AS old_hours,
          old_hours[1 + (old_hours[1] = toStartOfHour(min(sampled_at)))] AS moved
        FROM (
          SELECT customer_id, vm_id, boot_id, sampled_at, ${isTouched('toStartOfHour(sampled_at)')} AS is_touched,
            NOT (is_touched AND ${isTouched('subtractHours(toStartOfHour(sampled_at), 1)')}) AS is_old
          FROM counter_samples
          WHERE (customer_id, vm_id, boot_id) IN (SELECT customer_id, vm_id, boot_id FROM counter_samples
              WHERE ${LATE} AND cityHash64(vm_id) % {parts:UInt32} = {part:UInt32})
            AND sampled_at >= toDateTime64({since:Int64} - ${BEFORE_SECONDS}, 9, 'UTC') AND (${IS_READ}))
        GROUP BY customer_id, vm_id, boot_id HAVING argMin(is_touched, sampled_at) AND toUnixTimestamp(moved) > 0)`,
    query_params: { ...parameters, drain: randomUUID() },
    abort_signal: signal,
    clickhouse_settings: SETTINGS,
  });
  return Number(result.summary?.written_rows ?? 0);
}
