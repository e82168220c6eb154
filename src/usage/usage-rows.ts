import { cellParameters, type Sources } from './cells.ts';
import { hourRows } from './hour-rows.ts';
import { liveHours, liveParameters } from './live-hours.ts';
import type { QueryParameters } from './select.ts';
import { QUANTITY_COLUMNS } from './window.ts';
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

/** How touched hours are computed: `quick` is right where no row is `irregular`, what all sources come to always. */
export type TouchedWay = 'quick' | Sources;

const COLUMNS = `vm_id, hour, region, quantities, observed_nanos, unobserved_nanos, windows, windows_carried, conflicts,
  conflicts_carried, first, last, gaps, edges, irregular`;

/**
 * The hour rows of the scope's VMs, in all regions (`regionFilter` is for what sums them): from `usage_hours`, but for
 * touched hours from raw windows, so that everything stored counts. Quantities are one array, in the order of
 * `QUANTITY_COLUMNS`; `first` and `last` are Unix nanoseconds; a gap is (start, VM, end).
 *
 * `touched` must have been read before this runs: an hour that is rolled up in between is right both ways, while one
 * looked up in the same statement could be left out or counted twice.
 */
export function usageRows(
  scope: UsageScope,
  way: TouchedWay,
): { readonly sql: string; readonly parameters: QueryParameters } {
  const vms = scope.vmIds.length > 0 ? 'vm_id IN {vms:Array(String)}' : 'true';
  const rolledUp = `${storedRows('usage_hours AS stored FINAL')}
    WHERE customer_id = {customer:String} AND hour >= toDateTime({from:Int64}, 'UTC') AND hour < toDateTime({until:Int64}, 'UTC') AND ${vms}`;
  const parameters = { customer: scope.customerId, ...scope.range, vms: scope.vmIds, regions: scope.regions };
  if (scope.touched.length === 0) return { sql: rolledUp, parameters };
  const touched =
    way === 'quick' ? `SELECT ${COLUMNS} FROM (${liveHours(vms)})` : storedRows(`(${hourRows(vms, way)}) AS stored`);
  return {
    sql: `${rolledUp} AND hour NOT IN {hours:Array(DateTime('UTC'))} UNION ALL ${touched}`,
    parameters: {
      ...parameters,
      ...cellParameters({ customerIds: [scope.customerId], hours: scope.touched }),
      ...liveParameters(scope.touched),
    },
  };
}

/** Rows with the columns of `usage_hours`, of a table that is called `stored`, as `COLUMNS`. */
function storedRows(stored: string): string {
  const gaps = 'arrayMap(gap -> (reinterpretAsInt64(gap.1), vm_id, reinterpretAsInt64(gap.2)), stored.gaps)';
  return `SELECT vm_id, hour, region, [${Object.values(QUANTITY_COLUMNS).join(', ')}] AS quantities,
      observed_nanos, unobserved_nanos, windows, windows_carried, conflicts, conflicts_carried,
      reinterpretAsInt64(first_start) AS first, reinterpretAsInt64(last_end) AS last, ${gaps} AS gaps, edges, 0 AS irregular
    FROM ${stored}`;
}

export function regionFilter(scope: UsageScope): string {
  return scope.regions.length > 0 ? 'region IN {regions:Array(String)}' : 'true';
}
