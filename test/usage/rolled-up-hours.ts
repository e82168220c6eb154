import type { ClickHouseClient } from '@clickhouse/client';
import { type QueryParameters, select } from '../../src/usage/select.ts';
import { touchedHoursOf } from '../../src/usage/touched-hours.ts';
import { QUANTITY_COLUMNS, quantitiesOf, type UsageQuantities } from '../../src/usage/window.ts';
import { type ModelHour, rowKey } from './model.ts';

const { signal } = new AbortController();
const SECOND = 1_000_000_000n;

/** What is rolled up of a customer between two whole hours, by region in their order. A window counts in its first hour. */
export async function storedByRegion(
  clickhouse: ClickHouseClient,
  customerId: string,
  { startNanos, endNanos }: { readonly startNanos: bigint; readonly endNanos: bigint },
): Promise<(UsageQuantities & { readonly region: string })[]> {
  const sums = Object.values(QUANTITY_COLUMNS).map((column) => `sum(${column}) AS ${column}_sum`);
  const rows = await select<Record<string, string>>(
    clickhouse,
    `SELECT toString(region) AS in_region, ${sums.join(', ')}, sum(observed_nanos) AS observed,
       sum(windows) - sumIf(windows_carried, toUnixTimestamp(hour) != {from:Int64}) AS counted
     FROM usage_hours FINAL
     WHERE customer_id = {c:String} AND hour >= toDateTime({from:Int64}, 'UTC') AND hour < toDateTime({until:Int64}, 'UTC')
     GROUP BY in_region ORDER BY in_region`,
    { c: customerId, from: String(startNanos / SECOND), until: String(endNanos / SECOND) },
    signal,
  );
  return rows.map((row) => ({
    region: row['in_region'] ?? 'missing',
    ...quantitiesOf((field) => BigInt(row[`${QUANTITY_COLUMNS[field]}_sum`] ?? 'missing')),
    observedNanos: BigInt(row['observed'] ?? 'missing'),
    windows: BigInt(row['counted'] ?? 'missing'),
  }));
}

/** How many hours of a customer between two whole hours wait for the rollup. */
export async function waitingHours(
  clickhouse: ClickHouseClient,
  customerId: string,
  { startNanos, endNanos }: { readonly startNanos: bigint; readonly endNanos: bigint },
): Promise<number> {
  const range = { from: Number(startNanos / SECOND), until: Number(endNanos / SECOND) };
  return (await touchedHoursOf(clickhouse, customerId, range, signal)).length;
}

type HourRow = Record<string, string> & { readonly gaps: (readonly [string, string])[] };

/**
 * Rows of hours as the model has them, in its order.
 * @param from SQL for something with the columns of `usage_hours`
 */
export async function readHours(
  clickhouse: ClickHouseClient,
  from: string,
  parameters: QueryParameters,
): Promise<ModelHour[]> {
  const rows = await select<HourRow>(
    clickhouse,
    `SELECT * EXCEPT (hour, first_start, last_end, gaps), toInt64(toUnixTimestamp(hour)) * 1000000000 AS hour_nanos,
       reinterpretAsInt64(first_start) AS first, reinterpretAsInt64(last_end) AS last,
       arrayMap(gap -> (reinterpretAsInt64(gap.1), reinterpretAsInt64(gap.2)), gaps) AS gaps FROM ${from}`,
    parameters,
    signal,
  );
  return rows.map(modelled).toSorted((a, b) => (rowKey(a) < rowKey(b) ? -1 : 1));
}

function modelled(row: HourRow): ModelHour {
  const number = (column: string) => BigInt(row[column] ?? 'missing');
  return {
    customerId: row['customer_id'] ?? 'missing',
    hour: number('hour_nanos'),
    region: row['region'] ?? 'missing',
    vmId: row['vm_id'] ?? 'missing',
    ...quantitiesOf((field) => number(QUANTITY_COLUMNS[field])),
    observed: number('observed_nanos'),
    unobserved: number('unobserved_nanos'),
    windows: number('windows'),
    windowsCarried: number('windows_carried'),
    conflicts: number('conflicts'),
    conflictsCarried: number('conflicts_carried'),
    first: number('first'),
    last: number('last'),
    gaps: row.gaps.map(([start, end]) => [BigInt(start), BigInt(end)] as const),
  };
}
