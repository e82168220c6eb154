import { createHash } from 'node:crypto';
import type { ClickHouseClient } from '@clickhouse/client';
import { cellParameters, IN_CELLS, QUANTITIES } from './cells.ts';
import { countedWindows } from './first-reports.ts';
import { HOUR_NANOS, type QueryParameters, select } from './select.ts';
import { sourcesOf } from './sources.ts';
import { windowPieces } from './walked-rows.ts';
import { type MeasuredUsage, QUANTITY_COLUMNS, quantitiesOf } from './window.ts';

/** A part of one hour, `[fromNanos, untilNanos)` in Unix nanoseconds. */
export interface PartialHour {
  readonly hourNanos: bigint;
  readonly fromNanos: bigint;
  readonly untilNanos: bigint;
}

export interface CutUsage {
  readonly region: string;
  readonly usage: MeasuredUsage;
  readonly hash: bigint;
}

const SECOND_NANOS = 1_000_000_000n;

/**
 * What customers used in a part of an hour, from raw windows. Each window is cut at the instants as at an hour's edge: the
 * earlier part gets floor(value × its length / the whole length), the later the rest, so that an hour's parts add up to it.
 */
export async function cutUsage(
  clickhouse: ClickHouseClient,
  customerIds: readonly string[],
  hour: PartialHour,
  signal: AbortSignal,
): Promise<Map<string, CutUsage[]>> {
  const cells = { customerIds, hours: [Number(hour.hourNanos / SECOND_NANOS)] };
  const sources = await sourcesOf(clickhouse, cells, signal);
  const pieces = `SELECT * FROM (${windowPieces(countedWindows('true', sources))}) WHERE hour ${IN_CELLS}`;
  return cutPieces(clickhouse, { pieces, parameters: cellParameters(cells) }, hour, signal);
}

/** What is estimated for gaps of customers, as far as their plan bills it. */
export interface WantedEstimates {
  readonly customerIds: readonly string[];
  readonly gapPolicy: 'interpolate' | 'carry';
  /** Of the gap as a whole. */
  readonly longestNanos: bigint;
  /** SQL for a table with the columns of `usage_estimates`, in the session that has it. */
  readonly source: { readonly sql: string; readonly sessionId?: string };
}

/** What is estimated for a part of an hour: the hour's estimates, cut as windows are. */
export async function cutEstimates(
  clickhouse: ClickHouseClient,
  { customerIds, gapPolicy, longestNanos, source }: WantedEstimates,
  hour: PartialHour,
  signal: AbortSignal,
): Promise<Map<string, CutUsage[]>> {
  const prefix = gapPolicy === 'carry' ? 'carried' : 'interpolated';
  const pieces = `SELECT customer_id, vm_id, region, ${QUANTITIES.map((column) => `${prefix}_${column} AS ${column}`).join(', ')},
      greatest(reinterpretAsInt64(gap_start), {hour_start:Int64}) AS s,
      least(reinterpretAsInt64(gap_end), {hour_start:Int64} + ${HOUR_NANOS}) AS e
    FROM ${source.sql}
    WHERE hour = toDateTime({hour:Int64}, 'UTC') AND reinterpretAsInt64(gap_end) - reinterpretAsInt64(gap_start) <= {longest:Int64}`;
  const parameters = {
    customers: customerIds,
    hour: Number(hour.hourNanos / SECOND_NANOS),
    hour_start: String(hour.hourNanos),
    longest: String(longestNanos),
  };
  return cutPieces(clickhouse, { pieces, parameters, sessionId: source.sessionId }, hour, signal);
}

/** Parts of an hour with quantities, each from `s` to `e` in Unix nanoseconds. */
interface Pieces {
  /** SQL for rows with `customer_id`, `vm_id`, `region`, the quantities, `s` and `e`. */
  readonly pieces: string;
  readonly parameters: QueryParameters;
  readonly sessionId?: string | undefined;
}

/**
 * What pieces count between two instants, by customer and region: what they count before the later one, less before the earlier one. What
 * covers an instant first, in the order in which the rollup walks windows, is of the region that it counts for.
 */
async function cutPieces(
  clickhouse: ClickHouseClient,
  { pieces, parameters, sessionId }: Pieces,
  { fromNanos, untilNanos }: PartialHour,
  signal: AbortSignal,
): Promise<Map<string, CutUsage[]>> {
  const between = (before: (instant: string) => string) => `toUInt128(${before('cut_until')} - ${before('cut_from')})`;
  const quantity = (column: string) =>
    between((at) => `intDiv(toUInt256(${column}) * toUInt256(greatest(least(e, ${at}) - s, 0)), toUInt256(e - s))`);
  const covered = between((at) => `greatest(least(e, ${at}) - greatest(s, covered_until), 0)`);
  const rows = await select<Record<string, string>>(
    clickhouse,
    `WITH {from_nanos:Int64} AS cut_from, {until_nanos:Int64} AS cut_until
     SELECT customer_id, toString(region) AS in_region, toString(sum(${covered})) AS observed,
       ${QUANTITIES.map((column) => `toString(sum(${quantity(column)})) AS ${column}_sum`).join(', ')}
     FROM (SELECT *, max(e) OVER (PARTITION BY customer_id, vm_id ORDER BY s, e, region
         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS covered_until FROM (${pieces}))
     WHERE s < cut_until GROUP BY customer_id, in_region ORDER BY customer_id, in_region`,
    { ...parameters, from_nanos: String(fromNanos), until_nanos: String(untilNanos) },
    signal,
    sessionId,
  );
  const found = rows.map((row) => {
    const valueOf = (column: string) => BigInt(row[column] ?? 'missing');
    const usage = {
      ...quantitiesOf((field) => valueOf(`${QUANTITY_COLUMNS[field]}_sum`)),
      observedNanos: valueOf('observed'),
    };
    const region = row['in_region'] ?? 'missing';
    return {
      customerId: row['customer_id'] ?? 'missing',
      region,
      usage,
      hash: hashOf(region, fromNanos, untilNanos, usage),
    };
  });
  return Map.groupBy(found, (row) => row.customerId);
}

function hashOf(region: string, fromNanos: bigint, untilNanos: bigint, usage: MeasuredUsage): bigint {
  const text = JSON.stringify([region, String(fromNanos), String(untilNanos), ...Object.values(usage).map(String)]);
  return BigInt(`0x${createHash('sha256').update(text).digest('hex').slice(0, 32)}`);
}
