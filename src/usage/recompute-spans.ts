import type { ClickHouseClient } from '@clickhouse/client';
import { cellParameters, hourRows } from './hour-rows.ts';
import { HOUR_SECONDS, select } from './select.ts';
import { type HoursSource, readSpans, type SpanUsage, type UsageRequest } from './span-usage.ts';

/**
 * What `readSpans` says of one request, from raw windows and not from stored hours.
 * @returns `missingFrom`: before this instant (Unix nanoseconds) hours of the request are stored whose windows are no
 *   longer kept
 */
export async function recomputeSpans(
  clickhouse: ClickHouseClient,
  request: UsageRequest,
  signal: AbortSignal,
): Promise<{ usage: SpanUsage[][]; missingFrom: bigint | undefined }> {
  const [usage = []] = await readSpans(clickhouse, [request], computedHours, signal);
  return { usage, missingFrom: await missingFrom(clickhouse, request, signal) };
}

/** Hours as the rollup would compute them now. */
const computedHours: HoursSource = (customerIds, { from, until }) => {
  const hours = Array.from({ length: (until - from) / HOUR_SECONDS }, (_, i) => from + i * HOUR_SECONDS);
  return {
    sql: `(${hourRows()})`,
    parameters: cellParameters({ customerIds, hours }),
  };
};

async function missingFrom(
  clickhouse: ClickHouseClient,
  { customerId, spans }: UsageRequest,
  signal: AbortSignal,
): Promise<bigint | undefined> {
  const start = spans.reduce((least, each) => (each.startNanos < least ? each.startNanos : least), 1n << 62n);
  const end = spans.reduce((most, each) => (each.endNanos > most ? each.endNanos : most), 0n);
  const [row] = await select<{ hours_from: string; windows_from: string }>(
    clickhouse,
    `SELECT
       (SELECT toString(toUnixTimestamp(min(hour))) FROM usage_hours FINAL WHERE customer_id = {customer:String}
          AND hour >= toDateTime({from:Int64}, 'UTC') AND hour < toDateTime({until:Int64}, 'UTC')) AS hours_from,
       (SELECT toString(toUnixTimestamp(toStartOfHour(min(window_start)))) FROM windows WHERE customer_id = {customer:String}
          AND window_start < toDateTime64({until:Int64}, 9, 'UTC')) AS windows_from`,
    { customer: customerId, from: Number(start / 1_000_000_000n), until: Number(end / 1_000_000_000n) },
    signal,
  );
  const hoursFrom = Number(row?.hours_from ?? 0);
  const windowsFrom = Number(row?.windows_from ?? 0);
  if (hoursFrom === 0) return undefined;
  if (windowsFrom === 0) return end;
  return hoursFrom < windowsFrom ? BigInt(windowsFrom) * 1_000_000_000n : undefined;
}
