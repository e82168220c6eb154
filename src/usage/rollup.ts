import type { ClickHouseClient } from '@clickhouse/client';
import type { Clock } from '../lib/clock.ts';
import { type Cells, cellParameters, type Sources, WINDOWS_OF_CELLS, WINDOWS_ONLY } from './cells.ts';
import { noteConflictingReadings } from './conflicting-readings.ts';
import { READINGS_OF_CELLS } from './derived-windows.ts';
import { replaceEstimates } from './estimates.ts';
import { HOUR_COLUMNS, hourRows, mostlyRegularHourRows, regularHourRows } from './hour-rows.ts';
import { touchMovedBoots } from './moved-boots.ts';
import { select } from './select.ts';
import { Session } from './session.ts';
import { sourcesByCustomer } from './sources.ts';
import { touchUsersOfUnnamed } from './unnamed-notices.ts';
import { drainsOf, removeTouches, type TouchedHour, touchedHours } from './touched-hours.ts';

export interface RollUpOptions {
  readonly clickhouse: ClickHouseClient;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** (customer, hour) pairs worked off together. */
  readonly pairsMax?: number;
  /** Windows in one statement, unless one hour of the pairs alone has more: bounds ClickHouse's memory. */
  readonly windowsMax?: number;
}

export interface RollUpResult {
  /** (customer, hour) pairs that were computed. */
  readonly hours: number;
  /** Rows of `usage_hours` that were written for them. */
  readonly rows: number;
}

const PAIRS_MAX = 1_000;
const WINDOWS_MAX = 8_000_000;
/** A pair touched by more drains than this stays touched by the rest, and is computed again in the next run. */
const DRAINS_MAX = 100_000;

/**
 * Computes every touched (customer, hour) anew from raw windows and replaces its rows. Touches are removed last, and
 * only those that were read first: after a crash anywhere the same hours are computed again, and a touch that comes
 * meanwhile stays. Must not run twice at once (the job's lock sees to it).
 * @throws what ClickHouse reports; the signal's reason
 */
export async function rollUp(options: RollUpOptions): Promise<RollUpResult> {
  const { clickhouse, signal, pairsMax = PAIRS_MAX } = options;
  let hours = 0;
  let rows = 0;
  let after: TouchedHour | undefined;
  await touchUsersOfUnnamed(clickhouse, signal);
  await touchMovedBoots(clickhouse, signal);
  for (;;) {
    const touched = await touchedHours(clickhouse, after, pairsMax, signal);
    const drainIds = await drainsOf(clickhouse, touched, DRAINS_MAX, signal);
    for (const cells of rectangles(touched)) rows += await computeCells(options, cells);
    if (touched.length > 0) await removeTouches(clickhouse, touched, drainIds, signal);
    hours += touched.length;
    after = touched.at(-1);
    if (touched.length < pairsMax) return { hours, rows };
  }
}

/** The pairs as rectangles of customers and hours, each pair in one: hours with the same customers go together. */
export function rectangles(touched: readonly TouchedHour[]): Cells[] {
  const customersByHour = new Map<number, string[]>();
  for (const { customerId, hour } of touched) {
    const customerIds = customersByHour.get(hour);
    if (customerIds) customerIds.push(customerId);
    else customersByHour.set(hour, [customerId]);
  }
  const found = new Map<string, { customerIds: string[]; hours: number[] }>();
  for (const [hour, customerIds] of customersByHour) {
    const key = JSON.stringify(customerIds.toSorted());
    const same = found.get(key);
    if (same) same.hours.push(hour);
    else found.set(key, { customerIds, hours: [hour] });
  }
  return [...found.values()];
}

async function computeCells(options: RollUpOptions, cells: Cells): Promise<number> {
  const found = await sourcesByCustomer(options.clickhouse, cells, options.signal);
  const alike = Map.groupBy(cells.customerIds, (id) => JSON.stringify(found.get(id) ?? WINDOWS_ONLY));
  let rows = 0;
  for (const customerIds of alike.values()) {
    const sources = found.get(customerIds[0] ?? '') ?? WINDOWS_ONLY;
    if (sources.readings) await noteConflictingReadings(options.clickhouse, { ...cells, customerIds }, options.signal);
    for (const hours of await boundedHours(options, { customerIds, hours: cells.hours })) {
      rows += await replaceHours(options, { customerIds, hours }, sources);
    }
  }
  await replaceEstimates(options, cells);
  return rows;
}

/** The cells' hours in runs of at most `windowsMax` windows. */
async function boundedHours(options: RollUpOptions, cells: Cells): Promise<number[][]> {
  // Counting takes a fifth of the time of computing, and one hour stays one run whatever the count.
  if (cells.hours.length === 1) return [[...cells.hours]];
  const windowsMax = options.windowsMax ?? WINDOWS_MAX;
  const counts = await select<{ hour: number; windows: string }>(
    options.clickhouse,
    `SELECT toUnixTimestamp(start_hour) AS hour, count() AS windows FROM (
       SELECT toStartOfHour(window_start) AS start_hour FROM windows WHERE ${WINDOWS_OF_CELLS}
       UNION ALL SELECT toStartOfHour(sampled_at) FROM counter_samples WHERE ${READINGS_OF_CELLS}
     ) GROUP BY start_hour`,
    cellParameters(cells),
    options.signal,
  );
  const windowsByHour = new Map(counts.map((row) => [row.hour, Number(row.windows)]));
  const runs: number[][] = [];
  let windows = Number.POSITIVE_INFINITY;
  for (const hour of cells.hours.toSorted((a, b) => a - b)) {
    const more = windowsByHour.get(hour) ?? 0;
    if (windows + more > windowsMax) {
      runs.push([]);
      windows = 0;
    }
    runs.at(-1)?.push(hour);
    windows += more;
  }
  return runs;
}

/**
 * Computes the cells' hours and stores them in one INSERT, so that all rows of a (customer, hour), the vanished ones'
 * removals too, are seen at once.
 *
 * The plain sums come first, into a temporary table, since the INSERT needs them twice: for the regular hours, and to know
 * which ones to walk. A window that is stored in between cannot make a regular row wrong for good: its touch comes after
 * it, so it is not among those that this run read and removes, and the hour is computed again.
 */
async function replaceHours(options: RollUpOptions, cells: Cells, sources: Sources): Promise<number> {
  const { clickhouse, signal } = options;
  const version = await nextVersion(options, cells);
  const session = new Session(clickhouse, { ...cellParameters(cells), version: String(version) }, signal);
  const isPlain = !sources.readings && !sources.notices;
  if (isPlain) {
    await session.run(`CREATE TEMPORARY TABLE ${REGULAR_ROWS} ENGINE = Memory AS ${regularHourRows()}`, {
      // Windows lie in the order that they are grouped in, so that no table of all VMs is built up.
      optimize_aggregation_in_order: 1,
    });
  }
  const rows = isPlain ? mostlyRegularHourRows(REGULAR_ROWS) : hourRows('true', sources);
  const written = await session.run(replaceSql(rows), {
    // One block and so one part per month: a reader sees all rows of an hour or none.
    max_insert_threads: '1',
    min_insert_block_size_rows: '1000000000',
    min_insert_block_size_bytes: '1000000000000',
    optimize_on_insert: 0,
    // A row that only one side has must get zeros from the other.
    join_use_nulls: 0,
  });
  await session.run(`DROP TEMPORARY TABLE IF EXISTS ${REGULAR_ROWS}`);
  return written;
}

/** Greater than every version that these hours have, also when the clock went back. */
async function nextVersion({ clickhouse, clock, signal }: RollUpOptions, cells: Cells): Promise<bigint> {
  const [row] = await select<{ version: string }>(
    clickhouse,
    `SELECT max(version) AS version FROM usage_hours WHERE ${HOURS_OF_CELLS}`,
    cellParameters(cells),
    signal,
  );
  const last = BigInt(row?.version ?? 0);
  const now = clock.nowNanos();
  return now > last ? now : last + 1n;
}

const HOURS_OF_CELLS = `customer_id IN {customers:Array(String)} AND hour IN {hours:Array(DateTime('UTC'))}`;
const ROW_KEY = 'customer_id, hour, region, vm_id';
const REGULAR_ROWS = 'regular_rows';

/** The rows computed now; and where a stored row has none, for instance of a region that lost its VM, its removal. */
function replaceSql(rows: string): string {
  const columns = HOUR_COLUMNS.join(', ');
  return `INSERT INTO usage_hours (${columns}, version, is_deleted)
    SELECT ${columns}, {version:UInt64}, NOT is_computed
    FROM (SELECT *, 1 AS is_computed FROM (${rows})) AS computed
    FULL JOIN (SELECT ${ROW_KEY} FROM usage_hours FINAL WHERE ${HOURS_OF_CELLS}) AS stored USING (${ROW_KEY})`;
}
