import type { ClickHouseClient } from '@clickhouse/client';
import { type Cells, cellParameters } from './cells.ts';
import { SETTINGS } from './select.ts';

/** The readings that have the same customer, VM and instant as one with other values; `GROUP BY` ends it. */
const IN_CONFLICT = 'GROUP BY customer_id, vm_id, sampled_at HAVING min(value_hash) != max(value_hash)';
const IN_ORDER = { optimize_aggregation_in_order: 1 } as const;

/**
 * Notes at which instants of the cells' hours readings were reported with different values: looking through all readings for
 * them takes as long as computing the hours, so it is done where they are computed. What is noted twice collapses.
 * @throws what ClickHouse reports; the signal's reason
 */
export async function noteConflictingReadings(
  clickhouse: ClickHouseClient,
  cells: Cells,
  signal: AbortSignal,
): Promise<void> {
  await clickhouse.command({
    query: `INSERT INTO conflicting_readings (customer_id, vm_id, sampled_at)
      SELECT customer_id, vm_id, sampled_at FROM counter_samples WHERE customer_id IN {customers:Array(String)}
        AND sampled_at >= toDateTime64({hours_from:Int64}, 9, 'UTC') AND sampled_at < toDateTime64({hours_until:Int64}, 9, 'UTC')
      ${IN_CONFLICT}`,
    query_params: cellParameters(cells),
    abort_signal: signal,
    clickhouse_settings: { ...SETTINGS, ...IN_ORDER, max_partitions_per_insert_block: '0' },
  });
}

/**
 * The keys of readings in conflict in the range, as those of windows without length: what the rollup has noted, and in hours that
 * wait for it what is stored.
 * @param touched a condition on `touched_hours`
 * @param inRange a condition on instants of readings
 */
export function conflictingReadings(touched: string, inRange: (instant: string) => string): string {
  const key = 'customer_id, vm_id, sampled_at AS window_start, sampled_at AS window_end';
  return `SELECT ${key} FROM conflicting_readings WHERE ${inRange('sampled_at')}
    UNION DISTINCT SELECT ${key} FROM counter_samples WHERE ${inRange('sampled_at')}
      AND (customer_id, toStartOfHour(sampled_at)) IN (SELECT customer_id, hour FROM touched_hours WHERE ${touched})
    ${IN_CONFLICT}`;
}

/**
 * Readings with the columns of `windows`, as windows without length; `counters` says how their values count. What hosts do
 * not send with readings is 0.
 */
export const READING_REPORTS = `(SELECT customer_id, vm_id, sampled_at AS window_start, sampled_at AS window_end, value_hash, region,
    sampled_at, cpu_time_nanos, toFloat64(0) AS cpu_utilization_pct, toFloat64(0) AS cpu_cores_used, memory_bytes_used,
    toUInt64(0) AS memory_bytes_peak, memory_byte_seconds, disk_read_bytes, disk_write_bytes, disk_read_ops, disk_write_ops,
    network_rx_bytes, network_tx_bytes, boot_id, instance_id, toUInt64(0) AS sequence, credential_id, precedence,
    fromUnixTimestamp64Nano(toInt64(9223372036854775807 - precedence), 'UTC') AS received_at, toString(counters) AS counters
  FROM counter_samples)`;
