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

const IN_CELLS = `IN {hours:Array(DateTime('UTC'))}`;
/** A window's bounds, and the end of the hour that it starts in, in Unix nanoseconds. */
const TIMES = `reinterpretAsInt64(window_start) AS started, reinterpretAsInt64(window_end) AS ended,
  toStartOfHour(window_start) AS start_hour, toInt64(toUnixTimestamp(start_hour) + ${HOUR_SECONDS}) * 1000000000 AS edge`;

/**
 * The only way an hour is computed: one row per (customer, hour, region, VM) of the cells, from raw windows, with the
 * columns `HOUR_COLUMNS`. The rollup stores these rows, and queries use them for hours that wait for the rollup.
 *
 * Most VMs are regular in most hours: no two windows overlap, one region, no gap. Windows that do not overlap have
 * distinct keys, so plain sums are right and one pass does it. The others go the general way: collapse keys, then walk
 * the windows in order. That way is right for any hour, so all that matters is that no hour passes for regular that
 * is not.
 *
 * @param where a further condition on whole VMs, for instance `vm_id IN {vms:Array(String)}`
 * @param regular the table that holds `regularHourRows(where)`. Without one all goes the general way: for a customer's few
 *   hours it is the text of a statement that costs, not its rows, and ClickHouse has no way yet to use a subquery's rows twice
 */
export function hourRows(where = 'true', regular?: string): string {
  const columns = HOUR_COLUMNS.join(', ');
  if (regular === undefined) return `SELECT ${columns} FROM (${walkedRows(firstReports(where), `hour ${IN_CELLS}`)})`;
  const irregular = (key: string) => `(${key}) IN (SELECT ${key} FROM ${regular} WHERE irregular)`;
  const windows = firstReports(`${where} AND ${irregular('customer_id, vm_id')}`);
  return `SELECT ${columns} FROM ${regular} WHERE NOT irregular
    UNION ALL SELECT ${columns} FROM (${walkedRows(windows, irregular('customer_id, vm_id, hour'))})`;
}

/**
 * The quick way: one row per (customer, hour, VM) of the cells, by plain sums, with the columns `HOUR_COLUMNS` and
 * `irregular`. Where that is 1 the row's other values are of no use: windows overlap, or are of several regions, or
 * leave over two minutes uncovered.
 *
 * One pass, in the table's order, sums up windows by the hour that they start in. Of windows that do not overlap, one
 * at most reaches into the next hour: what it has there is taken off the one hour and added to the other.
 */
export function regularHourRows(where = 'true'): string {
  const tails = `arrayMap(value -> toUInt128(value - ${head('value', 'crossing.1', 'crossing.2')}), whole)`;
  return `WITH summed AS (${summedByStart(where)}), pieces AS (
      WITH if(last > edge, [${QUANTITIES.map((_, index) => `toUInt128(crossing.${index + 3})`).join(', ')}], []) AS whole,
        ${tails} AS tails
      SELECT customer_id, vm_id, addHours(start_hour, piece.1) AS hour, is_plain, assumeNotNull(only_region) AS region,
        piece.1 AS carried, piece.2 AS s, piece.3 AS e, piece.4 AS covered, piece.5 AS counted, piece.6 AS sums
      FROM summed ARRAY JOIN if(last > edge,
        [(0, first, edge, lengths - (last - edge), window_count, arrayMap((sum, tail) -> toUInt128(sum - tail), totals, tails)),
          (1, edge, last, last - edge, 1, tails)],
        [(0, first, last, lengths, window_count, totals)]) AS piece
      WHERE hour ${IN_CELLS}
    )
    SELECT customer_id, hour, toLowCardinality(any(pieces.region)) AS region, vm_id,
      ${QUANTITIES.map((column, index) => `sum(sums[${index + 1}]) AS ${column}`).join(', ')},
      toUInt64(sum(covered)) AS observed_nanos, toUInt64(max(e) - min(s) - sum(covered)) AS unobserved_nanos,
      sum(counted) AS windows, sum(carried) AS windows_carried,
      toUInt64(0) AS conflicts, toUInt64(0) AS conflicts_carried,
      fromUnixTimestamp64Nano(min(s), 'UTC') AS first_start, fromUnixTimestamp64Nano(max(e), 'UTC') AS last_end,
      []::Array(Tuple(DateTime64(9, 'UTC'), DateTime64(9, 'UTC'))) AS gaps,
      NOT min(is_plain) OR min(pieces.region) != max(pieces.region) OR sum(e - s) > max(e) - min(s)
        OR max(e) - min(s) - sum(covered) > ${GAP_NANOS} AS irregular
    FROM pieces GROUP BY customer_id, vm_id, hour`;
}

const MINUTE_NANOS = 60_000_000_000n;
/** So many lengths of up to an hour add up to less than 2^63 nanoseconds. */
const WINDOWS_PLAIN_MAX = 1_000_000;

/**
 * The minutes of the clock that a window touches: from the first one, how many, and as bits. Minute 64 has the bit of
 * minute 0, so windows up to two hours apart may seem to touch the same minute and do not, but never the other way round.
 */
const MINUTES = `intDiv(started, ${MINUTE_NANOS}) AS minute, intDiv(ended - 1, ${MINUTE_NANOS}) - minute + 1 AS minutes,
  bitRotateLeft(bitShiftLeft(toUInt64(1), minutes) - 1, bitAnd(minute, 63)) AS minute_bits`;

/**
 * Whether no two of a VM's windows overlap, quickly for either of the two ways in which hosts cut time. Windows on whole
 * minutes: no two touch the same minute. Any others: the length of their union, for which ClickHouse has to keep and
 * sort them, is the sum of the lengths of all. Where both kinds are mixed in one minute neither can tell.
 */
const ARE_DISJOINT = `(bitCount(groupBitOr(minute_bits)) = sum(minutes)
  OR intervalLengthSumIf(started, ended, ended - started != minutes * ${MINUTE_NANOS}) = lengths)`;

/** Plain sums of a VM's windows by the hour that they start in, and of the windows that cross its end any one. */
function summedByStart(where: string): string {
  const columns = QUANTITIES.map((column) => `windows.${column}`);
  return `WITH ${TIMES}, ${MINUTES}
    SELECT customer_id, vm_id, start_hour, edge, [${columns.map((column) => `sum(toUInt128(${column}))`).join(', ')}] AS totals,
      min(started) AS first, max(ended) AS last, sum(ended - started) AS lengths, count() AS window_count,
      anyIf((started, ended, ${columns.join(', ')}), ended > edge) AS crossing,
      singleValueOrNull(windows.region) AS only_region,
      ${ARE_DISJOINT} AND only_region IS NOT NULL AND window_count <= ${WINDOWS_PLAIN_MAX} AS is_plain
    FROM windows
    WHERE ${WINDOWS_OF_CELLS} AND ${where} AND (start_hour ${IN_CELLS} OR ended > edge)
    GROUP BY customer_id, vm_id, start_hour`;
}

/**
 * The general way, for the hours of which a condition holds. A VM's windows are walked by start over all its regions: each
 * adds the time that none before it covered, and the unobserved time right before it, to its own region's row. So regions
 * add up to the VM.
 */
function walkedRows(windows: string, hours: string): string {
  const walk = `PARTITION BY customer_id, vm_id, hour ORDER BY s, e ROWS BETWEEN UNBOUNDED PRECEDING AND`;
  return `SELECT customer_id, hour, region, vm_id, ${QUANTITIES.map((column) => `sum(toUInt128(${column})) AS ${column}`).join(', ')},
      toUInt64(sum(greatest(e - greatest(s, covered_until), 0))) AS observed_nanos,
      toUInt64(sum(greatest(s - covered_until, 0))) AS unobserved_nanos,
      count() AS windows, sum(carried) AS windows_carried,
      sum(conflict) AS conflicts, sum(conflict * carried) AS conflicts_carried,
      fromUnixTimestamp64Nano(min(s), 'UTC') AS first_start, fromUnixTimestamp64Nano(max(e), 'UTC') AS last_end,
      arraySort(groupArrayIf((fromUnixTimestamp64Nano(covered_until, 'UTC'), fromUnixTimestamp64Nano(s, 'UTC')),
        s - covered_until > ${GAP_NANOS})) AS gaps
    FROM (
      SELECT *, greatest(max(e) OVER (${walk} 1 PRECEDING), min(s) OVER (${walk} CURRENT ROW)) AS covered_until
      FROM (${cut(windows)}) WHERE ${hours}
    )
    GROUP BY customer_id, vm_id, hour, region`;
}

/**
 * Windows cut at the hour's edge: each piece with its hour and its bounds `s` and `e` in Unix nanoseconds. The head
 * gets floor(value × its length / the window's length) and the tail, which is `carried` into the next hour, the rest,
 * so the pieces add up to the window's values exactly.
 */
function cut(windows: string): string {
  const piece = (column: string) => {
    const ofHead = head(column, 'started', 'ended');
    return `multiIf(ended <= edge, ${column}, carried, toUInt64(${column} - ${ofHead}), toUInt64(${ofHead})) AS ${column}`;
  };
  return `WITH ${TIMES}
    SELECT customer_id, vm_id, region, conflict, carried, addHours(start_hour, carried) AS hour,
      if(carried, edge, started) AS s, if(carried, ended, least(ended, edge)) AS e, ${QUANTITIES.map(piece).join(', ')}
    FROM (${windows}) ARRAY JOIN if(ended > edge, [0, 1], [0]) AS carried`;
}

/** What the part of a window before `edge` has of a value. */
function head(value: string, started: string, ended: string): string {
  return `intDiv(toUInt128(${value}) * (edge - ${started}), toUInt128(${ended} - ${started}))`;
}

/** The reports that somebody chose; `WHERE` may follow. */
export const CHOSEN_REPORTS = `SELECT customer_id, vm_id, window_start, window_end, value_hash FROM conflict_resolutions FINAL`;

/**
 * The cells' windows, each key once: the report that somebody chose, otherwise the first one, which has the greatest
 * precedence, of equals the one with the smallest hash. `conflict` is 1 where the key was reported with different values
 * and nobody has chosen. Reads the same before and after copies are merged.
 * @param where a further condition on whole VMs
 */
export function firstReports(where: string): string {
  return `SELECT ${['customer_id, vm_id, window_start, window_end, region', ...QUANTITIES].join(', ')},
      min(value_hash) OVER reports != max(value_hash) OVER reports AND NOT max(is_chosen) OVER reports AS conflict
    FROM (
      SELECT *, (customer_id, vm_id, window_start, window_end, value_hash) IN (${CHOSEN_REPORTS}
        WHERE ${WINDOWS_OF_CELLS}) AS is_chosen
      FROM windows WHERE ${WINDOWS_OF_CELLS} AND ${where}
    )
    WINDOW reports AS (PARTITION BY customer_id, vm_id, window_start, window_end
      ORDER BY is_chosen DESC, precedence DESC, value_hash ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    QUALIFY row_number() OVER reports = 1`;
}
