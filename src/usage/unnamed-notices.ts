import { randomUUID } from 'node:crypto';
import type { ClickHouseClient } from '@clickhouse/client';
import { KNOWN_SECONDS, mayTellOf } from './lifecycle.ts';
import { SETTINGS } from './select.ts';
import { ALL_HOURS, DRAINS_MAX, drainsOf, NOBODY, removeTouches, touchedHoursOf } from './touched-hours.ts';

/**
 * Hosts that tell of a stop may name the VM alone: what they say touches hours of nobody, of the customer ''. Touches the same hours of
 * the customers that used these VMs then or in the day before, and that the host may tell of, so that they are computed anew; then
 * removes the touches of nobody, those that were there before the notices were looked for.
 *
 * Who used a VM is known by stored hours: whatever waits for the rollup has to be computed first.
 * @returns whether there were any touches of nobody
 * @throws what ClickHouse reports; the signal's reason
 */
export async function touchUsersOfUnnamed(clickhouse: ClickHouseClient, signal: AbortSignal): Promise<boolean> {
  const hours = await touchedHoursOf(clickhouse, NOBODY, ALL_HOURS, signal);
  if (hours.length === 0) return false;
  const touched = hours.map((hour) => ({ customerId: NOBODY, hour }));
  const drainIds = await drainsOf(clickhouse, touched, DRAINS_MAX, signal);
  const notices = `SELECT vm_id, toStartOfHour(at) AS hour, credential_id FROM vm_events
    WHERE customer_id = '' AND toStartOfHour(at) IN {hours:Array(DateTime('UTC'))}`;
  await clickhouse.command({
    query: `INSERT INTO touched_hours (drain_id, customer_id, hour)
      SELECT DISTINCT {drain:UUID}, used.customer_id, notice.hour FROM (${notices}) AS notice
      JOIN (SELECT DISTINCT customer_id, vm_id, hour FROM usage_hours
        WHERE hour >= toDateTime({from:Int64}, 'UTC') AND hour <= toDateTime({until:Int64}, 'UTC')
          AND vm_id IN (SELECT vm_id FROM (${notices}))) AS used USING (vm_id)
      WHERE used.hour <= notice.hour AND used.hour >= subtractSeconds(notice.hour, ${KNOWN_SECONDS})
        AND ${mayTellOf('used.customer_id')}`,
    query_params: {
      drain: randomUUID(),
      hours,
      from: Math.min(...hours) - KNOWN_SECONDS,
      until: Math.max(...hours),
    },
    abort_signal: signal,
    clickhouse_settings: SETTINGS,
  });
  await removeTouches(clickhouse, touched, drainIds, signal);
  return true;
}
