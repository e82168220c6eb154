import type { ClickHouseClient } from '@clickhouse/client';
import { type Cells, cellParameters, type Sources } from './cells.ts';
import { around, computeEstimates } from './estimates.ts';
import { hourRows } from './hour-rows.ts';
import { HOUR_NANOS, HOUR_SECONDS, select } from './select.ts';
import { Session } from './session.ts';
import { sourcesOf } from './sources.ts';
import {
  type EstimatesSource,
  type HourSpan,
  type HoursSource,
  readSpans,
  type SpanUsage,
  storedEstimates,
  type UsageRequest,
} from './span-usage.ts';

/** In the session of one computation. */
const COMPUTED_ESTIMATES = 'computed_estimates';

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
  const sources = await sourcesOf(clickhouse, nearCells(request), signal);
  const estimates = await computedEstimates(clickhouse, request, sources, signal);
  const [usage = []] = await readSpans(clickhouse, [request], { hours: computedHours(sources), estimates }, signal);
  return { usage, missingFrom: await missingFrom(clickhouse, request, signal) };
}

/** Estimates as the rollup would compute them now; none where no plan bills any. */
async function computedEstimates(
  clickhouse: ClickHouseClient,
  request: UsageRequest,
  sources: Sources,
  signal: AbortSignal,
): Promise<EstimatesSource> {
  if (request.spans.every((span) => span.gapPolicy === 'skip')) return storedEstimates;
  const { hours: wanted } = cellsOf([request.customerId], hoursOf(request));
  const session = new Session(clickhouse, { ...cellParameters(nearCells(request)), wanted }, signal);
  await computeEstimates(session, hourRows('true', sources), sources, COMPUTED_ESTIMATES);
  return { sql: COMPUTED_ESTIMATES, sessionId: session.id };
}

/** Hours as the rollup would compute them now. */
function computedHours(sources: Sources): HoursSource {
  return (customerIds, hours) => ({
    sql: `(${hourRows('true', sources)})`,
    parameters: cellParameters(cellsOf(customerIds, hours)),
  });
}

/** The request's hours and those beside them, which gaps reach into. */
function nearCells(request: UsageRequest): Cells {
  const { customerIds, hours } = cellsOf([request.customerId], hoursOf(request));
  return { customerIds, hours: around(hours, 1) };
}

function cellsOf(customerIds: readonly string[], { from, until }: HourSpan): Cells {
  const hours = Array.from({ length: (until - from) / HOUR_SECONDS }, (_, i) => from + i * HOUR_SECONDS);
  return { customerIds, hours };
}

/** All hours that the spans reach into. */
function hoursOf({ spans }: UsageRequest): HourSpan {
  const start = spans.reduce((least, each) => (each.startNanos < least ? each.startNanos : least), 1n << 62n);
  const end = spans.reduce((most, each) => (each.endNanos > most ? each.endNanos : most), 0n);
  const from = Number(start / HOUR_NANOS) * HOUR_SECONDS;
  return { from, until: Math.max(Number((end + HOUR_NANOS - 1n) / HOUR_NANOS) * HOUR_SECONDS, from + HOUR_SECONDS) };
}

/** Raw are windows, and readings of counters for customers that have those. */
async function missingFrom(
  clickhouse: ClickHouseClient,
  request: UsageRequest,
  signal: AbortSignal,
): Promise<bigint | undefined> {
  const { from, until } = hoursOf(request);
  const first = (table: string, column: string) => `SELECT minOrNull(toUnixTimestamp(toStartOfHour(${column}))) AS hour
    FROM ${table} WHERE customer_id = {customer:String} AND ${column} < toDateTime64({until:Int64}, 9, 'UTC')`;
  const [row] = await select<{ hours_from: number | null; raw_from: number | null }>(
    clickhouse,
    `SELECT
       (SELECT minOrNull(toUnixTimestamp(usage_hours.hour)) FROM usage_hours FINAL WHERE customer_id = {customer:String}
          AND windows > 0 AND hour >= toDateTime({from:Int64}, 'UTC') AND hour < toDateTime({until:Int64}, 'UTC')) AS hours_from,
       (SELECT min(hour) FROM (${first('windows', 'window_start')} UNION ALL ${first('counter_samples', 'sampled_at')})) AS raw_from`,
    { customer: request.customerId, from, until },
    signal,
  );
  const hoursFrom = row?.hours_from ?? undefined;
  const rawFrom = row?.raw_from ?? until;
  return hoursFrom !== undefined && hoursFrom < rawFrom ? BigInt(rawFrom) * 1_000_000_000n : undefined;
}
