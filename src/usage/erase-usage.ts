import type { ClickHouseClient } from '@clickhouse/client';
import { select } from './select.ts';

/** Stop notices may name a VM alone; they are a customer's where no other has a VM of that id. */
const OF_ITS_VMS = `customer_id = '' AND vm_id IN (SELECT vm_id FROM usage_hours WHERE customer_id = {customer:String})
  AND vm_id NOT IN (SELECT vm_id FROM usage_hours WHERE customer_id != {customer:String})`;
const OF_CUSTOMER = 'customer_id = {customer:String}';

/**
 * Every table that has rows of a customer, in the order of their removal: events are found by hours, and hours are computed
 * from what is removed before them. Heartbeats name VMs of many customers, and go by themselves after 35 days.
 */
const CONDITIONS = {
  vm_events: `(${OF_CUSTOMER} OR ${OF_ITS_VMS})`,
  counter_samples: OF_CUSTOMER,
  windows: OF_CUSTOMER,
  conflict_resolutions: OF_CUSTOMER,
  conflicting_readings: OF_CUSTOMER,
  key_customers: OF_CUSTOMER,
  refused_windows: OF_CUSTOMER,
  touched_hours: OF_CUSTOMER,
  usage_estimates: OF_CUSTOMER,
  usage_hours: OF_CUSTOMER,
} as const;

/** The first of the tables that the rollup writes, or removes from. */
const FIRST_COMPUTED = 'touched_hours';

/** Rows of a customer by table, for those that have any. @throws what ClickHouse reports; the signal's reason */
export async function countUsage(
  clickhouse: ClickHouseClient,
  customerId: string,
  signal: AbortSignal,
): Promise<Record<string, number>> {
  const counts = Object.entries(CONDITIONS).map(([table, where]) => {
    return `SELECT '${table}' AS name, count() AS removed FROM ${table} WHERE ${where}`;
  });
  const rows = await select<{ name: string; removed: string }>(
    clickhouse,
    `SELECT name, removed FROM (${counts.join(' UNION ALL ')}) WHERE removed > 0 ORDER BY name`,
    { customer: customerId },
    signal,
  );
  return Object.fromEntries(rows.map((row) => [row.name, Number(row.removed)]));
}

/**
 * Removes all that is stored of a customer's usage.
 * @param rollupEnded resolves when a rollup that runs now has ended: it may write hours of windows that it read before they
 *   were gone
 * @throws what ClickHouse reports and `rollupEnded` throws; the signal's reason. What was removed by then stays removed:
 *   call it again
 */
export async function eraseUsage(
  clickhouse: ClickHouseClient,
  customerId: string,
  rollupEnded: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  for (const [table, where] of Object.entries(CONDITIONS)) {
    signal.throwIfAborted();
    if (table === FIRST_COMPUTED) await rollupEnded();
    await clickhouse.command({
      query: `DELETE FROM ${table} WHERE ${where}`,
      query_params: { customer: customerId },
      abort_signal: signal,
      // Waits until the rows are gone for every reader.
      clickhouse_settings: { lightweight_deletes_sync: '2' },
    });
  }
}
