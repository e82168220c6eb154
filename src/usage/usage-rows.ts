import { cellParameters, HOUR_COLUMNS, hourRows } from './hour-rows.ts';
import type { QueryParameters } from './select.ts';
import { QUANTITY_COLUMNS, quantitiesOf, type UsageQuantities } from './window.ts';
import type { HourRange } from './whole-hours.ts';

/** Which hours of which VMs and regions of one customer. None named: all of them. */
export interface UsageScope {
  readonly customerId: string;
  readonly range: HourRange;
  readonly regions: readonly string[];
  readonly vmIds: readonly string[];
  /** The hours in the range that wait for the rollup, in Unix seconds. */
  readonly touched: readonly number[];
}

/**
 * The hour rows of the scope's VMs, in all regions (`regionFilter` is for what sums them): from `usage_hours`, but for touched hours from raw windows, so that everything stored
 * counts. `touched` must have been read before this runs: an hour that is rolled up in between is right both ways,
 * while one looked up in the same statement could be left out or counted twice.
 */
export function usageRows(scope: UsageScope): { readonly sql: string; readonly parameters: QueryParameters } {
  const vms = scope.vmIds.length > 0 ? 'vm_id IN {vms:Array(String)}' : 'true';
  const rolledUp = `SELECT ${HOUR_COLUMNS.join(', ')} FROM usage_hours FINAL
    WHERE customer_id = {customer:String} AND hour >= toDateTime({from:Int64}, 'UTC') AND hour < toDateTime({until:Int64}, 'UTC') AND ${vms}`;
  const parameters = { customer: scope.customerId, ...scope.range, vms: scope.vmIds, regions: scope.regions };
  if (scope.touched.length === 0) return { sql: rolledUp, parameters };
  return {
    sql: `${rolledUp} AND hour NOT IN {hours:Array(DateTime('UTC'))} UNION ALL ${hourRows(vms)}`,
    parameters: { ...parameters, ...cellParameters({ customerIds: [scope.customerId], hours: scope.touched }) },
  };
}

export function regionFilter(scope: UsageScope): string {
  return scope.regions.length > 0 ? 'region IN {regions:Array(String)}' : 'true';
}

/**
 * Sums of hour rows. A window that was carried into an hour from the one before counts only in the first hour of what
 * is summed, `groupStart`, an SQL
 * expression in Unix seconds.
 */
export function usageSums(groupStart: string): string {
  const sums = Object.values(QUANTITY_COLUMNS).map((column) => `sum(${column}) AS ${column}_sum`);
  return [
    ...sums,
    'sum(observed_nanos) AS observed_nanos_sum',
    `sum(windows) - sumIf(windows_carried, toUnixTimestamp(hour) != ${groupStart}) AS windows_sum`,
  ].join(', ');
}

export type UsageSumsRow = Record<
  `${(typeof QUANTITY_COLUMNS)[keyof typeof QUANTITY_COLUMNS]}_sum` | 'observed_nanos_sum' | 'windows_sum',
  string
>;

export function parseUsageSums(row: UsageSumsRow): UsageQuantities {
  return {
    ...quantitiesOf((field) => BigInt(row[`${QUANTITY_COLUMNS[field]}_sum`])),
    observedNanos: BigInt(row.observed_nanos_sum),
    windows: BigInt(row.windows_sum),
  };
}
