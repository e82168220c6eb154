import { HOUR_SECONDS, type QueryParameters } from './select.ts';
import { QUANTITY_COLUMNS } from './window.ts';

/** Over this long without a window of a VM that ran before and after is a gap. */
export const GAP_NANOS = 120_000_000_000n;

/** The columns of the eight quantities. */
export const QUANTITIES = Object.values(QUANTITY_COLUMNS);

/** Every combination of these customers and hours (Unix seconds, on whole hours). Neither list may be empty. */
export interface Cells {
  readonly customerIds: readonly string[];
  readonly hours: readonly number[];
}

/** The parameters of the SQL below. */
export function cellParameters(cells: Cells): QueryParameters {
  return {
    customers: cells.customerIds,
    hours: cells.hours,
    hours_from: Math.min(...cells.hours),
    hours_until: Math.max(...cells.hours) + HOUR_SECONDS,
  };
}

/**
 * The condition on `windows` for the cells' rows. A window is at most an hour long, so one that reaches into an hour
 * starts less than an hour before it.
 */
export const WINDOWS_OF_CELLS = `customer_id IN {customers:Array(String)}
  AND window_start > toDateTime64({hours_from:Int64} - ${HOUR_SECONDS}, 9, 'UTC')
  AND window_start < toDateTime64({hours_until:Int64}, 9, 'UTC')`;

export const IN_CELLS = `IN {hours:Array(DateTime('UTC'))}`;
/** A window's bounds, and the end of the hour that it starts in, in Unix nanoseconds. */
export const TIMES = `reinterpretAsInt64(window_start) AS started, reinterpretAsInt64(window_end) AS ended,
  toStartOfHour(window_start) AS start_hour, toInt64(toUnixTimestamp(start_hour) + ${HOUR_SECONDS}) * 1000000000 AS edge`;

/** What the part of a window before `edge` has of a value. */
export function head(value: string, started: string, ended: string): string {
  return `intDiv(toUInt128(${value}) * (edge - ${started}), toUInt128(${ended} - ${started}))`;
}

/**
 * What a window adds, modulo 2^128, to the `windows_hash` of each hour of its VM that it counts in. The table was made with
 * sipHash128 in mind, which takes as long as all else that a regular hour needs together.
 */
export const WINDOW_HASH = 'toUInt128(cityHash64(window_start, window_end, value_hash))';

/** What hours are computed from beside reported windows. */
export interface Sources {
  /** Windows that are derived from readings of counters. */
  readonly readings: boolean;
  /** Notices of starts and stops. */
  readonly notices: boolean;
}

export const WINDOWS_ONLY: Sources = { readings: false, notices: false };
export const ALL_SOURCES: Sources = { readings: true, notices: true };
