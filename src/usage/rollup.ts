import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import type { Clock } from '../lib/clock.ts';
import { type Cells, cellParameters, type Sources, WINDOWS_OF_CELLS, WINDOWS_ONLY } from './cells.ts';
import { noteConflictingReadings } from './conflicting-readings.ts';
import { READINGS_OF_CELLS } from './derived-windows.ts';
import { replaceEstimates } from './estimates.ts';
import { HOUR_COLUMNS, hourRows, mostlyRegularHourRows, regularHourRows } from './hour-rows.ts';
import { touchMovedBoots } from './moved-boots.ts';
import { HOUR_SECONDS, type QueryParameters, select } from './select.ts';
import { Session } from './session.ts';
import { sourcesByCustomer } from './sources.ts';
import { touchUsersOfUnnamed } from './unnamed-notices.ts';
import {
  ALL_HOURS,
  AMONG_TOUCHED,
  DRAINS_MAX,
  drainsOf,
  NOBODY,
  removeTouches,
  type TouchedHour,
  touchedHours,
  touchedParameters,
} from './touched-hours.ts';
import { inValues } from './value-bytes.ts';

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

const PAIRS_MAX = 5_000;
/** Hours in one go: estimates look at two on either side of each, in one value of 95 KiB (see `value-bytes.ts`). */
const HOURS_MAX = 1_500;
const WINDOWS_MAX = 8_000_000;
const DAY_SECONDS = 24 * HOUR_SECONDS;

/**
 * Computes every touched (customer, hour) anew from raw windows and replaces its rows. Touches are removed behind that, and
 * only those that were read first: after a crash anywhere an hour that is not stored is computed again, and a touch that comes
 * meanwhile stays. Must not run twice at once (the job's lock sees to it).
 * @throws what ClickHouse reports; the signal's reason
 */
export async function rollUp(options: RollUpOptions): Promise<RollUpResult> {
  const { hours, rows, hasMoved } = await rollUpTouched(options);
  const hasTold = await touchUsersOfUnnamed(options.clickhouse, options.signal);
  if (!hasTold && !hasMoved) return { hours, rows };
  // Once, and not until nothing is left: under a steady stream of notices a run would never end.
  const more = await rollUpTouched(options);
  return { hours: hours + more.hours, rows: rows + more.rows };
}

/** `hasMoved`: hours were touched that may lie before those that it had come to. */
type Pass = RollUpResult & { readonly hasMoved: boolean };

/** Of customers alone: of nobody there is nothing to compute. */
async function rollUpTouched(options: RollUpOptions): Promise<Pass> {
  const { clickhouse, signal, pairsMax = PAIRS_MAX } = options;
  let [hours, rows, hasMoved] = [0, 0, false];
  let after: TouchedHour | undefined = { customerId: NOBODY, hour: ALL_HOURS.until };
  for (;;) {
    const first = await touchedHours(clickhouse, after, pairsMax, signal);
    const touched = sendable(first);
    if (touched.length > 0) {
      const done = await workOff(options, touched);
      rows += done.rows;
      hasMoved ||= done.hasMoved;
    }
    hours += touched.length;
    after = touched.at(-1);
    if (first.length < pairsMax && touched.length === first.length) return { hours, rows, hasMoved };
  }
}

/** What is stored of the pairs from here on is counted, or keeps its touch. */
async function workOff(options: RollUpOptions, touched: readonly TouchedHour[]): Promise<Omit<Pass, 'hours'>> {
  const { clickhouse, signal } = options;
  const drainIds = await drainsOf(clickhouse, touched, DRAINS_MAX, signal);
  let [rows, hasMoved] = [0, false];
  for (const together of readTogether(touched)) {
    const done = await compute(options, together, drainIds);
    rows += done.rows;
    hasMoved ||= done.hasMoved;
  }
  return { rows, hasMoved };
}

/** The first of the pairs, as many as one request may name. */
function sendable(touched: readonly TouchedHour[]): TouchedHour[] {
  const [named = []] = inValues(touched, ({ customerId }) => customerId, PAIRS_MAX);
  const hours = new Set<number>();
  const end = named.findIndex(({ hour }) => hours.add(hour).size > HOURS_MAX);
  return end < 0 ? named : named.slice(0, end);
}

/**
 * The pairs in groups, a customer in one of them: those whose first hours are of the same day, and their last hours. ClickHouse
 * reads some thousand windows of a VM or more for any of its hours, so hours that are near each other are read at once,
 * whoever has touched which; and nobody's windows of long ago because somebody else's came late.
 */
export function readTogether(touched: readonly TouchedHour[]): TouchedHour[][] {
  const dayOf = (hour: number) => hour - (hour % DAY_SECONDS);
  const byCustomer = [...Map.groupBy(touched, (each) => each.customerId).values()];
  return groups(byCustomer, (pairs) => {
    const hours = pairs.map((each) => each.hour);
    return `${dayOf(Math.min(...hours))} ${dayOf(Math.max(...hours))}`;
  });
}

/** The pairs as rectangles of customers and hours, each pair in one: hours with the same customers go together. */
export function rectangles(touched: readonly TouchedHour[]): TouchedHour[][] {
  const byHour = [...Map.groupBy(touched, (each) => each.hour).values()];
  return groups(byHour, (pairs) => JSON.stringify(pairs.map((each) => each.customerId).toSorted()));
}

function groups(lists: readonly TouchedHour[][], keyOf: (list: readonly TouchedHour[]) => string): TouchedHour[][] {
  return [...Map.groupBy(lists, keyOf).values()].map((same) => same.flat());
}

/** All customers and all hours of the pairs: as many cells as pairs, or more. */
function cellsOf(touched: readonly TouchedHour[]): Cells {
  return {
    customerIds: [...new Set(touched.map((each) => each.customerId))],
    hours: [...new Set(touched.map((each) => each.hour))],
  };
}

/** Each run of hours loses its touches once it is stored, so that a rollup that is cut short has got somewhere. */
async function compute(
  options: RollUpOptions,
  touched: readonly TouchedHour[],
  drainIds: readonly string[],
): Promise<Omit<Pass, 'hours'>> {
  const { clickhouse, signal } = options;
  const found = await sourcesByCustomer(clickhouse, cellsOf(touched), signal);
  const sourcesOf = ({ customerId }: TouchedHour) => found.get(customerId) ?? WINDOWS_ONLY;
  let [rows, hasMoved] = [0, false];
  for (const alike of Map.groupBy(touched, (each) => JSON.stringify(sourcesOf(each))).values()) {
    const sources = alike[0] === undefined ? WINDOWS_ONLY : sourcesOf(alike[0]);
    if (sources.readings) {
      if (await touchMovedBoots(clickhouse, alike, signal)) hasMoved = true;
      await noteConflictingReadings(clickhouse, cellsOf(alike), signal);
    }
    for (const run of await boundedRuns(options, alike)) {
      rows += await replaceHours(options, run, sources);
      await replaceEstimates(options, cellsOf(run));
      await removeTouches(clickhouse, run, drainIds, signal);
    }
  }
  return { rows, hasMoved };
}

/**
 * The pairs in runs of at most `windowsMax` windows, a customer's in one run where they are not more: its windows lie together.
 */
async function boundedRuns(options: RollUpOptions, touched: readonly TouchedHour[]): Promise<TouchedHour[][]> {
  const { windowsMax = WINDOWS_MAX } = options;
  if (touched.length === 1 || (await windowsAtMost(options, touched)) <= windowsMax) return [[...touched]];
  const isOne = touched.every((each) => each.customerId === touched[0]?.customerId);
  const counts = await windowsBy(
    options,
    touched,
    isOne ? 'toString(toUnixTimestamp(toStartOfHour(at)))' : 'customer_id',
  );
  const runs: TouchedHour[][] = [];
  let windows = Number.POSITIVE_INFINITY;
  for (const [part, pairs] of Map.groupBy(touched, (each) => (isOne ? String(each.hour) : each.customerId))) {
    const more = counts.get(part) ?? 0;
    if (more > windowsMax && !isOne) {
      runs.push(...(await boundedRuns(options, pairs)));
      windows = Number.POSITIVE_INFINITY;
      continue;
    }
    if (windows + more > windowsMax) {
      runs.push([]);
      windows = 0;
    }
    runs.at(-1)?.push(...pairs);
    windows += more;
  }
  return runs;
}

/** As the index alone has it: counting them takes a tenth of the time of computing. */
async function windowsAtMost(options: RollUpOptions, touched: readonly TouchedHour[]): Promise<number> {
  const rows = await select<{ rows: string }>(
    options.clickhouse,
    `EXPLAIN ESTIMATE ${CELLS_READ}`,
    cellParameters(cellsOf(touched)),
    options.signal,
  );
  return rows.reduce((sum, table) => sum + Number(table.rows), 0);
}

/** @param part SQL for what to count by, as a text */
async function windowsBy(
  options: RollUpOptions,
  touched: readonly TouchedHour[],
  part: string,
): Promise<Map<string, number>> {
  const rows = await select<{ part: string; windows: string }>(
    options.clickhouse,
    `SELECT ${part} AS part, count() AS windows FROM (${CELLS_READ}) GROUP BY part`,
    cellParameters(cellsOf(touched)),
    options.signal,
  );
  return new Map(rows.map((row) => [row.part, Number(row.windows)]));
}

/** What the cells' hours are computed from, with nothing of it but when and whose it is. */
const CELLS_READ = `SELECT customer_id, window_start AS at FROM windows WHERE ${WINDOWS_OF_CELLS}
  UNION ALL SELECT customer_id, sampled_at FROM counter_samples WHERE ${READINGS_OF_CELLS}`;

/** Computes the pairs' hours and stores them. @returns how many rows were written */
async function replaceHours(
  options: RollUpOptions,
  touched: readonly TouchedHour[],
  sources: Sources,
): Promise<number> {
  if (!sources.readings && !sources.notices) return replacePlainHours(options, touched);
  let rows = 0;
  for (const rectangle of rectangles(touched)) {
    const session = await sessionFor(options, rectangle);
    rows += await session.run(replaceSql(hourRows('true', sources)), AS_ONE_PART);
  }
  return rows;
}

/**
 * All in one INSERT, so that all rows of a (customer, hour), the vanished ones' removals too, are seen at once.
 *
 * The plain sums come first, into a temporary table, since the INSERT needs them twice: for the regular hours, and to know
 * which ones to walk. A window that is stored in between cannot make a regular row wrong for good: its touch comes after
 * it, so it is not among those that this run read and removes, and the hour is computed again.
 */
async function replacePlainHours(options: RollUpOptions, touched: readonly TouchedHour[]): Promise<number> {
  const session = await sessionFor(options, touched);
  await session.run(`CREATE TEMPORARY TABLE ${REGULAR_ROWS} ENGINE = Memory AS ${regularHourRows(AMONG_TOUCHED)}`, {
    // Windows lie in the order that they are grouped in, so that no table of all VMs is built up.
    optimize_aggregation_in_order: 1,
  });
  const written = await session.run(replaceSql(mostlyRegularHourRows(REGULAR_ROWS)), AS_ONE_PART);
  await session.run(`DROP TEMPORARY TABLE ${REGULAR_ROWS}`);
  return written;
}

const AS_ONE_PART: ClickHouseSettings = {
  // One block and so one part per month: a reader sees all rows of an hour or none.
  max_insert_threads: '1',
  min_insert_block_size_rows: '1000000000',
  min_insert_block_size_bytes: '1000000000000',
  optimize_on_insert: 0,
  // A row that only one side has must get zeros from the other.
  join_use_nulls: 0,
};

/** A session with the parameters of the pairs and of all their cells, and with a version for them. */
async function sessionFor(options: RollUpOptions, touched: readonly TouchedHour[]): Promise<Session> {
  const { clickhouse, signal } = options;
  const pairs = touchedParameters(touched);
  const version = String(await nextVersion(options, pairs));
  return new Session(clickhouse, { ...cellParameters(cellsOf(touched)), ...pairs, version }, signal);
}

/** Greater than every version that these hours have, also when the clock went back. */
async function nextVersion({ clickhouse, clock, signal }: RollUpOptions, parameters: QueryParameters): Promise<bigint> {
  const sql = `SELECT max(version) AS version FROM usage_hours WHERE ${AMONG_TOUCHED}`;
  const [row] = await select<{ version: string }>(clickhouse, sql, parameters, signal);
  const last = BigInt(row?.version ?? 0);
  const now = clock.nowNanos();
  return now > last ? now : last + 1n;
}

const ROW_KEY = 'customer_id, hour, region, vm_id';
const REGULAR_ROWS = 'regular_rows';

/** The rows computed now; and where a stored row has none, for instance of a region that lost its VM, its removal. */
function replaceSql(rows: string): string {
  const columns = HOUR_COLUMNS.join(', ');
  return `INSERT INTO usage_hours (${columns}, version, is_deleted)
    SELECT ${columns}, {version:UInt64}, NOT is_computed
    FROM (SELECT *, 1 AS is_computed FROM (${rows})) AS computed
    FULL JOIN (SELECT ${ROW_KEY} FROM usage_hours FINAL WHERE ${AMONG_TOUCHED}) AS stored USING (${ROW_KEY})`;
}
