import { GAP_NANOS, head, IN_CELLS, QUANTITIES, type Sources, TIMES, WINDOW_HASH, WINDOWS_OF_CELLS } from './cells.ts';
import { countedWindows, firstReports } from './first-reports.ts';
import { walkedRows } from './walked-rows.ts';

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
  'windows_hash',
  'edges',
] as const;

/**
 * The only way an hour is computed: one row per (customer, hour, region, VM) of the cells, from raw windows, with the
 * columns `HOUR_COLUMNS`. The rollup stores these rows, and queries use them for hours that wait for the rollup.
 *
 * Most VMs are regular in most hours: no two windows overlap, one region, no gap. Windows that do not overlap have
 * distinct keys, so plain sums are right and one pass does it. The others go the general way: collapse keys, then walk
 * the windows in order. That way is right for any hour, so all that matters is that no hour passes for regular that
 * is not.
 *
 * All goes the general way here: for a customer's few hours it is the text of a statement that costs, not its rows, and
 * ClickHouse has no way yet to use a subquery's rows twice.
 *
 * @param where a further condition on whole VMs, for instance `vm_id IN {vms:Array(String)}`
 * @param sources what the customers have in these hours at least (`sourcesOf`)
 */
export function hourRows(where: string, sources: Sources): string {
  const notices = sources.notices ? where : undefined;
  return `SELECT ${HOUR_COLUMNS.join(', ')} FROM (${walkedRows(countedWindows(where, sources), `hour ${IN_CELLS}`, notices)})`;
}

/**
 * The same as `hourRows('true', WINDOWS_ONLY)`, with the regular hours from their plain sums.
 * @param regular the table that holds `regularHourRows(…)`
 * @param collapsed the table that holds `collapsedHourRows(regular)`
 */
export function mostlyRegularHourRows(regular: string, collapsed: string): string {
  const columns = HOUR_COLUMNS.join(', ');
  const hourOf = (time: string) => isIrregular(collapsed, `customer_id, vm_id, toStartOfHour(${time})`);
  const windows = firstReports(`${hourOf('window_start')} OR ${hourOf('window_end')}`, isOfIrregularVm(collapsed));
  return `SELECT ${columns} FROM ${regular} WHERE NOT irregular
    UNION ALL SELECT ${columns} FROM ${collapsed} WHERE NOT irregular
    UNION ALL SELECT ${columns} FROM (${walkedRows(windows, isIrregular(collapsed, 'customer_id, vm_id, hour'))})`;
}

/** A condition: that a row of these tells of an irregular hour. */
function isIrregular(rows: string, key: string): string {
  return `(${key}) IN (SELECT customer_id, vm_id, hour FROM ${rows} WHERE irregular)`;
}

/** The same for whole VMs, which is cheap to look up for very many windows. */
function isOfIrregularVm(rows: string): string {
  return `vm_id IN (SELECT vm_id FROM ${rows} WHERE irregular)`;
}

/**
 * The quick way: one row per (customer, hour, VM) of the cells, by plain sums, with the columns `HOUR_COLUMNS` and
 * `irregular`. Where that is 1 the row's other values are of no use: windows overlap, or are of several regions, or
 * leave over two minutes uncovered.
 *
 * One pass, in the table's order, sums up windows by the hour that they start in. Of windows that do not overlap, one
 * at most reaches into the next hour: what it has there is taken off the one hour and added to the other.
 * @param cells a condition on `customer_id` and `hour`, for some of the cells or all
 */
export function regularHourRows(cells: string): string {
  return plainHourRows('windows', cells);
}

/**
 * The quick way once more for the irregular hours, with equal copies of a window taken once. What stores windows sends them
 * again where it was not told that they are stored, and the copies lie there until they are merged: hours that have them would
 * otherwise all be walked, which takes three times the CPU.
 * @param regular the table that holds `regularHourRows(…)`
 */
export function collapsedHourRows(regular: string): string {
  const collapsed = `windows FINAL PREWHERE ${isOfIrregularVm(regular)}`;
  return plainHourRows(collapsed, isIrregular(regular, 'customer_id, vm_id, hour'));
}

function plainHourRows(windows: string, cells: string): string {
  const tails = `arrayMap(value -> toUInt128(value - ${head('value', 'crossing.1', 'crossing.2')}), whole)`;
  return `WITH summed AS (${summedByStart(windows)}), pieces AS (
      WITH if(last > edge, [${QUANTITIES.map((_, index) => `toUInt128(crossing.${index + 4})`).join(', ')}], []) AS whole,
        ${tails} AS tails
      SELECT customer_id, vm_id, addHours(start_hour, piece.1) AS hour, is_plain, assumeNotNull(only_region) AS region,
        piece.1 AS carried, piece.2 AS s, piece.3 AS e, piece.4 AS covered, piece.5 AS counted, piece.6 AS sums, piece.7 AS hashes
      FROM summed ARRAY JOIN if(last > edge,
        [(0, first, edge, lengths - (last - edge), window_count, arrayMap((sum, tail) -> toUInt128(sum - tail), totals, tails), hash),
          (1, edge, last, last - edge, 1, tails, crossing.3)],
        [(0, first, last, lengths, window_count, totals, hash)]) AS piece
      WHERE ${cells}
    )
    SELECT customer_id, hour, toLowCardinality(any(pieces.region)) AS region, vm_id,
      ${QUANTITIES.map((column, index) => `sum(sums[${index + 1}]) AS ${column}`).join(', ')},
      toUInt64(sum(covered)) AS observed_nanos, toUInt64(max(e) - min(s) - sum(covered)) AS unobserved_nanos,
      sum(counted) AS windows, sum(carried) AS windows_carried,
      toUInt64(0) AS conflicts, toUInt64(0) AS conflicts_carried,
      fromUnixTimestamp64Nano(min(s), 'UTC') AS first_start, fromUnixTimestamp64Nano(max(e), 'UTC') AS last_end,
      []::Array(Tuple(DateTime64(9, 'UTC'), DateTime64(9, 'UTC'))) AS gaps,
      sum(hashes) AS windows_hash, toUInt8(0) AS edges,
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
function summedByStart(windows: string): string {
  const columns = QUANTITIES.map((column) => `windows.${column}`);
  return `WITH ${TIMES}, ${MINUTES}
    SELECT customer_id, vm_id, start_hour, edge, [${columns.map((column) => `sum(toUInt128(${column}))`).join(', ')}] AS totals,
      min(started) AS first, max(ended) AS last, sum(ended - started) AS lengths, count() AS window_count,
      anyIf((started, ended, ${WINDOW_HASH}, ${columns.join(', ')}), ended > edge) AS crossing, sum(${WINDOW_HASH}) AS hash,
      singleValueOrNull(windows.region) AS only_region,
      ${ARE_DISJOINT} AND only_region IS NOT NULL AND window_count <= ${WINDOWS_PLAIN_MAX} AS is_plain
    FROM ${windows}
    WHERE ${WINDOWS_OF_CELLS} AND (start_hour ${IN_CELLS} OR ended > edge)
    GROUP BY customer_id, vm_id, start_hour`;
}
