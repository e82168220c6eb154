import { randomUUID } from 'node:crypto';
import type { ClickHouseClient } from '@clickhouse/client';
import { KNOWN_SECONDS, mayTellOf } from './lifecycle.ts';
import { SETTINGS, select } from './select.ts';

/**
 * Hosts that tell of a stop may name the VM alone: what they say touches hours of nobody, of the customer ''. Touches the same hours of
 * the customers that used these VMs then or in the day before, and that the host may tell of, so that they are computed anew.
 * @throws what ClickHouse reports; the signal's reason
 */
export async function touchUsersOfUnnamed(clickhouse: ClickHouseClient, signal: AbortSignal): Promise<void> {
  const touched = await select<{ hour: number }>(
    clickhouse,
    `SELECT DISTINCT toUnixTimestamp(touched_hours.hour) AS hour FROM touched_hours WHERE customer_id = ''`,
    {},
    signal,
  );
  if (touched.length === 0) return;
  const hours = touched.map((row) => row.hour);
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
}
