import { createHash } from 'node:crypto';
import type { ClickHouseClient } from '@clickhouse/client';
import { cellParameters } from './cells.ts';
import { countedWindows } from './first-reports.ts';
import { HOUR_NANOS, select } from './select.ts';
import { sourcesOf } from './sources.ts';
import { type MeasuredUsage, type Quantities, QUANTITY_COLUMNS, quantitiesOf } from './window.ts';

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

/** A window's part in the hour, and what it counts there. */
export interface Piece extends Quantities {
  readonly vmId: string;
  readonly region: string;
  readonly startNanos: bigint;
  readonly endNanos: bigint;
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
  const columns = Object.values(QUANTITY_COLUMNS).map((column) => `toString(${column}) AS ${column}`);
  const rows = await select<Record<string, string>>(
    clickhouse,
    `SELECT customer_id, vm_id, toString(region) AS in_region, toString(reinterpretAsInt64(window_start)) AS start_nanos,
       toString(reinterpretAsInt64(window_end)) AS end_nanos, ${columns.join(', ')}
     FROM (${countedWindows('true', sources)})
     WHERE window_end > toDateTime64({hours_from:Int64}, 9, 'UTC')`,
    cellParameters(cells),
    signal,
  );
  return cutByCustomer(rows, hour, (row) => pieceOf(row, hour.hourNanos));
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
  const columns = Object.values(QUANTITY_COLUMNS).map((column) => `toString(${prefix}_${column}) AS ${column}`);
  const rows = await select<Record<string, string>>(
    clickhouse,
    `SELECT customer_id, vm_id, toString(region) AS in_region, toString(reinterpretAsInt64(gap_start)) AS start_nanos,
       toString(reinterpretAsInt64(gap_end)) AS end_nanos, ${columns.join(', ')}
     FROM ${source.sql}
     WHERE hour = toDateTime({hour:Int64}, 'UTC') AND reinterpretAsInt64(gap_end) - reinterpretAsInt64(gap_start) <= {longest:Int64}`,
    { customers: customerIds, hour: Number(hour.hourNanos / SECOND_NANOS), longest: String(longestNanos) },
    signal,
    source.sessionId,
  );
  const end = hour.hourNanos + HOUR_NANOS;
  return cutByCustomer(rows, hour, (row) => {
    const [gapStart, gapEnd] = [BigInt(row['start_nanos'] ?? 0), BigInt(row['end_nanos'] ?? 0)];
    return {
      vmId: row['vm_id'] ?? '',
      region: row['in_region'] ?? '',
      startNanos: gapStart > hour.hourNanos ? gapStart : hour.hourNanos,
      endNanos: gapEnd < end ? gapEnd : end,
      ...quantitiesOf((field) => BigInt(row[QUANTITY_COLUMNS[field]] ?? 0)),
    };
  });
}

function cutByCustomer(
  rows: readonly Record<string, string>[],
  hour: PartialHour,
  toPiece: (row: Record<string, string>) => Piece,
): Map<string, CutUsage[]> {
  const byCustomer = Map.groupBy(rows, (row) => row['customer_id'] ?? '');
  return new Map(
    [...byCustomer].map(([customerId, own]) => [customerId, cutPieces(own.map(toPiece).toSorted(inOrder), hour)]),
  );
}

/** The order in which the rollup walks them: what covers an instant first is of the region that it counts for. */
function inOrder(a: Piece, b: Piece): number {
  return (
    compare(a.vmId, b.vmId) ||
    compare(a.startNanos, b.startNanos) ||
    compare(a.endNanos, b.endNanos) ||
    compare(a.region, b.region)
  );
}

function compare<T extends bigint | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function pieceOf(row: Record<string, string>, hourNanos: bigint): Piece {
  const start = BigInt(row['start_nanos'] ?? 0);
  const end = BigInt(row['end_nanos'] ?? 0);
  const edge = start < hourNanos ? hourNanos : hourNanos + HOUR_NANOS;
  const head = (value: bigint): bigint => (end <= edge ? value : (value * (edge - start)) / (end - start));
  const isTail = start < hourNanos;
  return {
    vmId: row['vm_id'] ?? '',
    region: row['in_region'] ?? '',
    startNanos: isTail ? hourNanos : start,
    endNanos: isTail || end <= edge ? end : edge,
    ...quantitiesOf((field) => {
      const value = BigInt(row[QUANTITY_COLUMNS[field]] ?? 0);
      return isTail ? value - head(value) : head(value);
    }),
  };
}

/** What pieces, by VM and time, count between two instants, by region: what they count before the later, less before the earlier. */
export function cutPieces(
  pieces: readonly Piece[],
  { fromNanos, untilNanos }: Omit<PartialHour, 'hourNanos'>,
): CutUsage[] {
  const before = usageUntil(pieces, fromNanos);
  return [...usageUntil(pieces, untilNanos)]
    .map(([region, all]) => {
      const earlier = before.get(region);
      const usage = earlier === undefined ? all : minus(all, earlier);
      return { region, usage, hash: hashOf(region, fromNanos, untilNanos, usage) };
    })
    .toSorted((a, b) => (a.region < b.region ? -1 : 1));
}

function usageUntil(pieces: readonly Piece[], instant: bigint): Map<string, MeasuredUsage> {
  const sums = new Map<string, MeasuredUsage>();
  let vmId = '';
  let covered = 0n;
  for (const piece of pieces) {
    if (piece.vmId !== vmId) {
      vmId = piece.vmId;
      covered = 0n;
    }
    const { startNanos, endNanos } = piece;
    const end = endNanos < instant ? endNanos : instant;
    if (end <= startNanos) continue;
    const sum = sums.get(piece.region) ?? { ...quantitiesOf(() => 0n), observedNanos: 0n };
    const uncovered = end - (covered > startNanos ? covered : startNanos);
    sums.set(piece.region, {
      ...quantitiesOf((field) => sum[field] + (piece[field] * (end - startNanos)) / (endNanos - startNanos)),
      observedNanos: sum.observedNanos + (uncovered > 0n ? uncovered : 0n),
    });
    if (end > covered) covered = end;
  }
  return sums;
}

function minus(a: MeasuredUsage, b: MeasuredUsage): MeasuredUsage {
  return { ...quantitiesOf((field) => a[field] - b[field]), observedNanos: a.observedNanos - b.observedNanos };
}

function hashOf(region: string, fromNanos: bigint, untilNanos: bigint, usage: MeasuredUsage): bigint {
  const text = JSON.stringify([region, String(fromNanos), String(untilNanos), ...Object.values(usage).map(String)]);
  return BigInt(`0x${createHash('sha256').update(text).digest('hex').slice(0, 32)}`);
}
