import type { ClickHouseClient } from '@clickhouse/client';
import { inGroups } from './in-groups.ts';
import { HOUR_NANOS, select } from './select.ts';

/** A part of a customer's time, `[startNanos, endNanos)` in Unix nanoseconds. */
export interface CustomerSpan {
  readonly customerId: string;
  readonly startNanos: bigint;
  readonly endNanos: bigint;
}

const SECOND_NANOS = 1_000_000_000n;

/** The customers that have an hour in their span that waits for the rollup. */
export async function customersWaiting(
  clickhouse: ClickHouseClient,
  requests: readonly CustomerSpan[],
  signal: AbortSignal,
): Promise<Set<string>> {
  const waiting = new Set<string>();
  for (const group of groupsOf(requests)) {
    const rows = await select<{ customer_id: string }>(
      clickhouse,
      `SELECT DISTINCT customer_id FROM touched_hours WHERE ${OF_GROUP}`,
      parametersOf(group),
      signal,
    );
    for (const row of rows) waiting.add(row.customer_id);
  }
  return waiting;
}

/** For each request, whether an hour of it, or an estimate, was computed anew after `sinceNanos`. */
export async function spansChangedSince(
  clickhouse: ClickHouseClient,
  requests: readonly (CustomerSpan & { readonly sinceNanos: bigint })[],
  signal: AbortSignal,
): Promise<boolean[]> {
  const changed = new Map<CustomerSpan, boolean>();
  for (const group of groupsOf(requests)) {
    const since = group.reduce((least, each) => (each.sinceNanos < least ? each.sinceNanos : least), 1n << 63n);
    const rows = await select<{ customer_id: string; last: string }>(
      clickhouse,
      `SELECT customer_id, toString(max(version)) AS last FROM (
         SELECT customer_id, version FROM usage_hours WHERE ${OF_GROUP} AND version > {since:UInt64}
         UNION ALL SELECT customer_id, version FROM usage_estimates WHERE ${OF_GROUP} AND version > {since:UInt64}
       ) GROUP BY customer_id`,
      { ...parametersOf(group), since: String(since) },
      signal,
    );
    const last = new Map(rows.map((row) => [row.customer_id, BigInt(row.last)]));
    for (const each of group) changed.set(each, (last.get(each.customerId) ?? 0n) > each.sinceNanos);
  }
  return requests.map((request) => changed.get(request) === true);
}

const OF_GROUP = `customer_id IN {customers:Array(String)}
  AND hour >= toDateTime({from:Int64}, 'UTC') AND hour < toDateTime({until:Int64}, 'UTC')`;

function groupsOf<T extends CustomerSpan>(requests: readonly T[]): T[][] {
  return inGroups(requests, ({ startNanos, endNanos }) => `${startNanos} ${endNanos}`);
}

/** The hours that the span reaches into, those at its edges whole. */
function parametersOf(group: readonly CustomerSpan[]) {
  const { startNanos = 0n, endNanos = 0n } = group[0] ?? {};
  return {
    customers: group.map((each) => each.customerId),
    from: Number(((startNanos / HOUR_NANOS) * HOUR_NANOS) / SECOND_NANOS),
    until: Number((((endNanos + HOUR_NANOS - 1n) / HOUR_NANOS) * HOUR_NANOS) / SECOND_NANOS),
  };
}
