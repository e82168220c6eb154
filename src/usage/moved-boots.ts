import { randomUUID } from 'node:crypto';
import type { ClickHouseClient } from '@clickhouse/client';
import { IS_READ } from './derived-windows.ts';
import { HOUR_NANOS, SETTINGS } from './select.ts';

const TOUCHED = 'SELECT customer_id, hour FROM touched_hours';

const isTouched = (hour: string) => `(customer_id, ${hour}) IN (${TOUCHED})`;

/**
 * Boots with a reading in touched hours that came over an hour late: whatever is further from a reading than the hours it touched
 * itself was read later than that. Mostly there are none.
 */
const LATE = `SELECT customer_id, vm_id, boot_id, min(sampled_at) AS late_at FROM counter_samples
  WHERE boot_id != '' AND sampled_at >= (SELECT min(hour) FROM touched_hours)
    AND ${isTouched('toStartOfHour(sampled_at)')}
    AND toInt64(9223372036854775807 - precedence) - reinterpretAsInt64(sampled_at) > ${HOUR_NANOS}
  GROUP BY customer_id, vm_id, boot_id`;

/**
 * The first reading of a boot counts from zero. One that comes late takes that from the reading that was the first so far, however far
 * behind it: touches the hours of that one's window, so that they are computed anew too. Of the readings in hours that are not touched it
 * is the first, since all before it are new. Where the boot had begun earlier still, these hours are computed once more in vain.
 * @throws what ClickHouse reports; the signal's reason
 */
export async function touchMovedBoots(clickhouse: ClickHouseClient, signal: AbortSignal): Promise<void> {
  await clickhouse.command({
    query: `INSERT INTO touched_hours (drain_id, customer_id, hour)
      WITH late AS (${LATE})
      SELECT DISTINCT {drain:UUID}, customer_id, arrayJoin([subtractHours(moved, 1), moved]) FROM (
        SELECT customer_id, toStartOfHour(min(sampled_at)) AS moved FROM counter_samples
        WHERE (customer_id, vm_id, boot_id) IN (SELECT customer_id, vm_id, boot_id FROM late)
          AND sampled_at > (SELECT min(late_at) FROM late) AND (${IS_READ})
          AND NOT (${isTouched('toStartOfHour(sampled_at)')} AND ${isTouched('subtractHours(toStartOfHour(sampled_at), 1)')})
        GROUP BY customer_id, vm_id, boot_id)`,
    query_params: { drain: randomUUID() },
    abort_signal: signal,
    clickhouse_settings: SETTINGS,
  });
}
