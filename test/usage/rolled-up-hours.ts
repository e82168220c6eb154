import type { ClickHouseClient } from '@clickhouse/client';
import { select } from '../../src/usage/select.ts';
import { touchedHoursOf } from '../../src/usage/touched-hours.ts';
import { QUANTITY_COLUMNS, quantitiesOf, type UsageQuantities } from '../../src/usage/window.ts';

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
