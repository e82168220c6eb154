import { HOUR_SECONDS, type QueryParameters } from './select.ts';
import { QUANTITY_COLUMNS } from './window.ts';

/** Over this long without a window of a VM that ran before and after is a gap. */
export const GAP_NANOS = 120_000_000_000n;

const QUANTITIES = Object.values(QUANTITY_COLUMNS);

/** The columns of `hourRows`, which are those of `usage_hours` but for `version` and `is_deleted`. */
export const HOUR_COLUMNS = [
  'customer_id',
  'hour',
  'region',
  'vm_id',
  ...QUANTITIES,
  'observed_nanos',
  'unobserved_nanos',
  'windows',
  'windows_carried',
  'conflicts',
  'conflicts_carried',
  'first_start',
  'last_end',
  'gaps',
] as const;

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

const START_HOUR = 'toStartOfHour(window_start)';
const NEXT_HOUR = `addHours(${START_HOUR}, 1)`;
const START = 'reinterpretAsInt64(window_start)';
const END = 'reinterpretAsInt64(window_end)';
const PIECE_KEY = 'customer_id, vm_id, region';
const IN_CELLS = `hour IN {hours:Array(DateTime('UTC'))}`;

/**
 * The only way an hour is computed: one row per (customer, hour, region, VM) of the cells, from raw windows, with the
 * columns `HOUR_COLUMNS`. The rollup stores these rows, and queries use them for hours that wait for the rollup.
 *
 * Most VMs are regular: no two windows overlap, one region in each hour, no gap. Windows that do not overlap have
 * distinct keys, so plain sums are right and one pass does it. The others go the general way: collapse keys, then walk
 * the windows in order. The test of which is which is exact: neither way is an approximation of the other.
 *
 * @param where a further condition on whole VMs, for instance `vm_id IN {vms:Array(String)}`
 */
export function hourRows(where = 'true'): string {
  const windows = `(SELECT * FROM windows WHERE ${WINDOWS_OF_CELLS} AND ${where})`;
  return `SELECT ${HOUR_COLUMNS.join(', ')} FROM (${regularRows(windows)})
    UNION ALL SELECT ${HOUR_COLUMNS.join(', ')} FROM (${walkedRows(irregularWindows(windows))})`;
}

/** Of a VM-hour's pieces: plain sums could be wrong, or it holds a gap. `intervalLengthSum` is the union's length. */
const IRREGULAR = `(intervalLengthSum(s, e) != sum(e - s) OR min(piece.region) != max(piece.region)
      OR max(e) - min(s) - sum(e - s) > ${GAP_NANOS})`;

/** The windows of VMs of which some hour is irregular. */
function irregularWindows(windows: string): string {
  return `(SELECT * FROM ${windows} WHERE (customer_id, vm_id) IN (
      SELECT customer_id, vm_id FROM (${wholeAndCut(windows, [])}) AS piece
      GROUP BY customer_id, vm_id, hour HAVING ${IRREGULAR}))`;
}

/** The rows of VMs of which every hour is regular. */
function regularRows(windows: string): string {
  return `SELECT * FROM (
      SELECT customer_id, hour, any(piece.region) AS region, vm_id, ${sums()},
        toUInt64(sum(e - s)) AS observed_nanos,
        toUInt64(max(e) - min(s) - sum(e - s)) AS unobserved_nanos,
        count() AS windows, sum(carried) AS windows_carried,
        toUInt64(0) AS conflicts, toUInt64(0) AS conflicts_carried,
        fromUnixTimestamp64Nano(min(s), 'UTC') AS first_start, fromUnixTimestamp64Nano(max(e), 'UTC') AS last_end,
        []::Array(Tuple(DateTime64(9, 'UTC'), DateTime64(9, 'UTC'))) AS gaps,
        ${IRREGULAR} AS irregular
      FROM (${wholeAndCut(windows, QUANTITIES)}) AS piece
      GROUP BY customer_id, vm_id, hour
    ) QUALIFY NOT max(irregular) OVER (PARTITION BY customer_id, vm_id)`;
}

/**
 * The general way. A VM's windows are walked by start over all its regions: each adds the time that none before it
 * covered, and the unobserved time right before it, to its own region's row. So regions add up to the VM.
 */
function walkedRows(windows: string): string {
  const walk = `PARTITION BY customer_id, vm_id, hour ORDER BY s, e ROWS BETWEEN UNBOUNDED PRECEDING AND`;
  return `SELECT customer_id, hour, region, vm_id, ${sums()},
      toUInt64(sum(greatest(e - greatest(s, covered_until), 0))) AS observed_nanos,
      toUInt64(sum(greatest(s - covered_until, 0))) AS unobserved_nanos,
      count() AS windows, sum(carried) AS windows_carried,
      sum(conflict) AS conflicts, sum(conflict * carried) AS conflicts_carried,
      fromUnixTimestamp64Nano(min(s), 'UTC') AS first_start, fromUnixTimestamp64Nano(max(e), 'UTC') AS last_end,
      arraySort(groupArrayIf((fromUnixTimestamp64Nano(covered_until, 'UTC'), fromUnixTimestamp64Nano(s, 'UTC')),
        s - covered_until > ${GAP_NANOS})) AS gaps
    FROM (
      SELECT *, greatest(max(e) OVER (${walk} 1 PRECEDING), min(s) OVER (${walk} CURRENT ROW)) AS covered_until
      FROM (${cut(firstReports(windows), [...QUANTITIES, 'conflict'], 'true')})
    )
    GROUP BY customer_id, vm_id, hour, region`;
}

/** What `cut` gives, quicker: windows inside one hour, nearly all of them, are not cut but taken as they are. */
function wholeAndCut(windows: string, quantities: readonly string[]): string {
  return `SELECT ${PIECE_KEY}, ${START_HOUR} AS hour, ${START} AS s, ${END} AS e, 0 AS carried${list(quantities)}
      FROM ${windows} WHERE window_end <= ${NEXT_HOUR} AND ${IN_CELLS}
    UNION ALL ${cut(windows, quantities, `window_end > ${NEXT_HOUR}`)}`;
}

/**
 * Windows cut at the hour's edge: each piece with its hour and its bounds `s` and `e` in Unix nanoseconds. The head
 * gets floor(value × its length / the window's length) and the tail, which is `carried` into the next hour, the rest,
 * so the pieces add up to the window's values exactly.
 */
function cut(windows: string, columns: readonly string[], where: string): string {
  const head = (column: string) => `intDiv(toUInt128(${column}) * (edge - started), toUInt128(ended - started))`;
  const piece = (column: string) => {
    if (column === 'conflict') return column;
    return `multiIf(ended <= edge, ${column}, carried, toUInt64(${column} - ${head(column)}), toUInt64(${head(column)})) AS ${column}`;
  };
  return `SELECT ${PIECE_KEY}, toDateTime(edge_seconds - if(carried, 0, ${HOUR_SECONDS}), 'UTC') AS hour,
      if(carried, edge, started) AS s, if(carried, ended, least(ended, edge)) AS e, carried${list(columns.map(piece))}
    FROM (
      SELECT ${PIECE_KEY}${list(columns)}, ${START} AS started, ${END} AS ended,
        toInt64(toUnixTimestamp(${NEXT_HOUR})) AS edge_seconds, edge_seconds * 1000000000 AS edge
      FROM ${windows} WHERE ${where}
    ) ARRAY JOIN if(ended > edge, [0, 1], [0]) AS carried WHERE ${IN_CELLS}`;
}

/**
 * Each window key once: the first report, which has the greatest precedence, of equals the one with the smallest hash.
 * `conflict` is 1 where the key was reported with different values. Reads the same before and after copies are merged.
 */
function firstReports(windows: string): string {
  const key = 'PARTITION BY customer_id, vm_id, window_start, window_end';
  return `(SELECT ${['customer_id, vm_id, window_start, window_end, region', ...QUANTITIES].join(', ')},
      min(value_hash) OVER reports != max(value_hash) OVER reports AS conflict
    FROM ${windows}
    WINDOW reports AS (${key})
    QUALIFY row_number() OVER (${key} ORDER BY precedence DESC, value_hash) = 1)`;
}

function sums(): string {
  return QUANTITIES.map((column) => `sum(toUInt128(${column})) AS ${column}`).join(', ');
}

function list(columns: readonly string[]): string {
  return columns.map((column) => `, ${column}`).join('');
}
