import { CHOSEN_REPORTS } from './chosen-reports.ts';
import { HOUR_NANOS, HOUR_SECONDS } from './select.ts';

/** The counters of a reading, in this order; the last one counts only where hosts send it as a total. */
const COUNTERS = [
  'cpu_time_nanos',
  'disk_read_bytes',
  'disk_write_bytes',
  'disk_read_ops',
  'disk_write_ops',
  'network_rx_bytes',
  'network_tx_bytes',
  'memory_byte_seconds',
] as const;
const NO_COUNTS = `[${COUNTERS.map(() => 'toUInt64(0)').join(', ')}]`;

/** Whether a reading has anything: one of all zeros is a failed read. */
export const IS_READ = [...COUNTERS, 'memory_bytes_used'].map((column) => `${column} != 0`).join(' OR ');

/**
 * The condition on `counter_samples` for the readings that windows of the cells are derived from. A window that reaches into
 * an hour starts less than an hour before it, and what was read in the whole hour before its start says whether the
 * reading there was good.
 */
export const READINGS_OF_CELLS = readAround('sampled_at');

function readAround(instant: string): string {
  return `customer_id IN {customers:Array(String)}
    AND ${instant} >= toDateTime64({hours_from:Int64} - ${2 * HOUR_SECONDS}, 9, 'UTC')
    AND ${instant} < toDateTime64({hours_until:Int64} + ${HOUR_SECONDS}, 9, 'UTC')`;
}

/**
 * The windows between readings of counters that reach into the cells' hours, with the columns of `firstReports`. Not those
 * that end before: what says where such a one starts need not have been read. What counts is in `docs/money.md`. Every
 * rule looks back for two hours of the clock at most, so that all runs that need a window derive the same one, whichever
 * hours they compute.
 * @param where a further condition on whole VMs
 */
export function derivedWindows(where: string): string {
  const column = (name: string, index: number) => `counts[${index + 1}] AS ${name}`;
  return `SELECT customer_id, vm_id, fromUnixTimestamp64Nano(began, 'UTC') AS window_start,
      fromUnixTimestamp64Nano(at, 'UTC') AS window_end, region,
      ${COUNTERS.slice(0, -1).map(column).join(', ')},
      if(totals[8] > 0 AND (base[8] > 0 OR is_from_zero), counts[8], ${MEAN_MEMORY}) AS memory_byte_seconds,
      sipHash64(region, counts, memory_byte_seconds) AS value_hash,
      toUInt8(in_doubt OR doubt_before) AS conflict
    FROM (
      SELECT *, ${BASES}, arrayMap((total, before) -> toUInt64(total - before), totals, base) AS counts
      FROM (${steps(where)})
    )
    WHERE began > 0 AND window_end > toDateTime64({hours_from:Int64}, 9, 'UTC')
      AND window_start < toDateTime64({hours_until:Int64}, 9, 'UTC')`;
}

/** No VM has so much memory that this cuts anything off; a sum that passed 64 bits would start again at 0. */
const MEAN_MEMORY = `toUInt64(least(intDiv((toUInt256(memory) + memory_before) * (at - began), 2000000000), 18446744073709551615))`;

const near = (reading: string) => `${reading}.at > 0 AND at - ${reading}.at <= ${HOUR_NANOS}`;

/**
 * From where on a reading counts: the instant `began`, 0 where nothing is known of the time before it, and the totals at it.
 * A start notice that no counter fell after is none of a boot: the host told of a VM that was running.
 */
const BASES = `counters = 'cumulative' AND NOT has_own AND has_last
      AND if(boot_id = '', arrayExists((total, before) -> total < before, totals, last_totals), is_first_of_boot) AS is_from_zero,
    multiIf(counters = 'delta', if(has_last, last.at, 0), has_own, own.at, is_from_zero, greatest(last.at, started),
      has_last AND boot_id = '', last.at, 0) AS began,
    multiIf(counters = 'delta' OR is_from_zero, ${NO_COUNTS}, has_own, own.totals, last_totals) AS base,
    if(has_own AND counters = 'cumulative', own.memory, last.memory) AS memory_before,
    if(has_own AND counters = 'cumulative', own.in_doubt, last.in_doubt) AS doubt_before`;

/** Good readings, each with the good ones before it: `own` of the same boot, `last` of any. */
function steps(where: string): string {
  const rows = 'ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW';
  const before = `lagInFrame(
    (at, totals, memory, in_doubt)::Tuple(at Int64, totals Array(UInt64), memory UInt64, in_doubt UInt8))`;
  return `SELECT *, ${near('own')} AS has_own, ${near('last')} AS has_last,
      arrayResize(last.totals, ${COUNTERS.length}) AS last_totals,
      boot_id != '' AND (customer_id, vm_id, boot_id, at) IN (${firstOfBoots()}) AS is_first_of_boot
    FROM (
      SELECT *, ${before} OVER (PARTITION BY customer_id, vm_id, counters, boot ${rows}) AS own,
        ${before} OVER (PARTITION BY customer_id, vm_id ${rows}) AS last
      FROM (${goodReadings(where)})
    )`;
}

/**
 * Readings of which no counter is below what it was in this hour or the hour before, in the same boot. Each reading is put
 * into its own hour and the next one, so that one pass in order of time finds the greatest values before each.
 */
function goodReadings(where: string): string {
  return `SELECT * FROM (
      SELECT *, maxForEach(totals) OVER (PARTITION BY customer_id, vm_id, counters, boot, block
        ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS greatest_before
      FROM (SELECT *, later, intDiv(at, ${HOUR_NANOS}) + later AS block FROM (${bootedReadings(where)}) ARRAY JOIN [0, 1] AS later)
    )
    WHERE later = 0 AND (counters = 'delta'
      OR arrayAll((before, total) -> before <= total, arrayResize(greatest_before, ${COUNTERS.length}), totals))`;
}

/**
 * Of each instant the reading that counts, with its boot: what the host calls it, or, of hosts that have no name for boots, the last
 * start notice, at `started` in Unix nanoseconds.
 */
function bootedReadings(where: string): string {
  const total = (column: string) =>
    column === 'memory_byte_seconds' ? `if(counters = 'cumulative' AND boot_id != '', ${column}, 0)` : column;
  return `SELECT reading.*, reinterpretAsInt64(start.at) AS started, if(boot_id = '', toString(started), boot_id) AS boot
    FROM (
      SELECT customer_id, vm_id, region, sampled_at, reinterpretAsInt64(sampled_at) AS at, counters, boot_id,
        memory_bytes_used AS memory, [${COUNTERS.map(total).join(', ')}] AS totals, in_doubt
      FROM (${countedReadings(where)})
      WHERE ${IS_READ}
    ) AS reading
    ASOF LEFT JOIN (
      SELECT customer_id, vm_id, at FROM vm_events WHERE kind = 'started' AND customer_id IN {customers:Array(String)}
        AND vm_id IN (SELECT vm_id FROM counter_samples WHERE ${READINGS_OF_CELLS} AND boot_id = '')
    ) AS start ON reading.customer_id = start.customer_id AND reading.vm_id = start.vm_id AND reading.sampled_at >= start.at`;
}

/**
 * Of each instant the reading that somebody chose, otherwise the first one: as `firstReports` says it of windows. `in_doubt` is 1 where
 * several were reported with different values and nobody has chosen.
 */
function countedReadings(where: string): string {
  return `SELECT *, min(value_hash) OVER reports != max(value_hash) OVER reports AND NOT max(is_chosen) OVER reports AS in_doubt
    FROM (
      SELECT *, (customer_id, vm_id, sampled_at, sampled_at, value_hash) IN (${CHOSEN_REPORTS}
        WHERE ${readAround('window_start')}) AS is_chosen
      FROM counter_samples WHERE ${READINGS_OF_CELLS} AND ${where}
    )
    WINDOW reports AS (PARTITION BY customer_id, vm_id, sampled_at
      ORDER BY is_chosen DESC, precedence DESC, value_hash ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    QUALIFY row_number() OVER reports = 1`;
}

/** The first reading ever of each boot of the VMs that had several of late. */
function firstOfBoots(): string {
  return `SELECT customer_id, vm_id, boot_id, reinterpretAsInt64(min(sampled_at)) FROM counter_samples
    WHERE customer_id IN {customers:Array(String)} AND boot_id != '' AND (${IS_READ}) AND (customer_id, vm_id) IN (
      SELECT customer_id, vm_id FROM counter_samples WHERE ${READINGS_OF_CELLS}
      GROUP BY customer_id, vm_id HAVING min(boot_id) != max(boot_id))
    GROUP BY customer_id, vm_id, boot_id`;
}
