import { HOUR_SECONDS } from './select.ts';

/** How far back a VM that no window of the hours is of may have its last hour, to be known by it. */
export const KNOWN_SECONDS = 24 * HOUR_SECONDS;

/** The condition on `vm_events` for notices in the cells' hours that say where a VM's time begins and ends. */
export const NOTICES_OF_CELLS = `kind IN ('started', 'stopped') AND at >= toDateTime64({hours_from:Int64}, 9, 'UTC')
  AND at < toDateTime64({hours_until:Int64}, 9, 'UTC')`;

/**
 * The condition for what a key told of VMs without their customer to count for a customer: the key may report for everybody, or for
 * that one.
 * @param customer SQL, as the rows' `credential_id` is
 */
export function mayTellOf(customer: string): string {
  return `(credential_id NOT IN (SELECT credential_id FROM key_customers WHERE customer_id = '')
    OR (credential_id, ${customer}) IN (SELECT credential_id, customer_id FROM key_customers))`;
}

const UNNAMED = `SELECT vm_id FROM vm_events WHERE ${NOTICES_OF_CELLS} AND customer_id = ''`;

function usersOf(table: string, column: string, backSeconds: number): string {
  return `SELECT customer_id, vm_id, toDateTime(toStartOfHour(${column}), 'UTC') AS used FROM ${table}
    WHERE customer_id IN {customers:Array(String)} AND vm_id IN (${UNNAMED})
      AND ${column} >= toDateTime({hours_from:Int64} - ${backSeconds}, 'UTC') AND ${column} < toDateTime({hours_until:Int64}, 'UTC')`;
}

/**
 * Who of the cells' customers used the VMs of notices without a customer in these hours or the day before, and in which hours. A notice
 * that names its customer tells it too: the rollup makes an hour of it.
 */
const USERS_OF_UNNAMED = `${usersOf('usage_hours', 'hour', KNOWN_SECONDS)}
  UNION DISTINCT ${usersOf('windows', 'window_start', HOUR_SECONDS)}
  UNION DISTINCT ${usersOf('counter_samples', 'sampled_at', HOUR_SECONDS)}
  UNION DISTINCT ${usersOf("(SELECT * FROM vm_events WHERE kind IN ('started', 'stopped'))", 'at', HOUR_SECONDS)}`;

/**
 * The notices without a customer in the cells' hours, each with whose it is: who used the VM in the notice's hour or the day before. Later
 * use does not count, so that an hour says the same whichever others are computed with it.
 */
const OWNED_NOTICES = `SELECT vm_id, notice.region AS region, notice.at AS at, notice.kind AS kind, owner.customer_id AS owner_id FROM (
      SELECT * FROM vm_events WHERE ${NOTICES_OF_CELLS} AND customer_id = ''
    ) AS notice JOIN (${USERS_OF_UNNAMED}) AS owner USING (vm_id)
  WHERE owner.used <= notice.at AND owner.used >= subtractSeconds(toStartOfHour(notice.at), ${KNOWN_SECONDS}) AND ${mayTellOf('owner.customer_id')}`;

/** The cells' customers that notices without a customer are about. */
export const OWNERS_OF_UNNAMED = `SELECT DISTINCT owner_id AS customer_id FROM (${OWNED_NOTICES})`;

/**
 * Start and stop notices of the cells' VMs, in the cells' hours: `at_nanos` since 1970, `is_start` 1 or 0.
 * @param where a further condition on whole VMs
 */
export function lifecycleNotices(where: string): string {
  const columns = `vm_id, region, reinterpretAsInt64(at) AS at_nanos, kind = 'started' AS is_start`;
  return `SELECT customer_id, ${columns} FROM vm_events
      WHERE ${NOTICES_OF_CELLS} AND customer_id IN {customers:Array(String)} AND ${where}
    UNION DISTINCT SELECT owner_id AS customer_id, ${columns} FROM (${OWNED_NOTICES}) WHERE ${where}`;
}
