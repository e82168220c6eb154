import { cellParameters, WINDOWS_OF_CELLS, WINDOWS_ONLY } from './cells.ts';
import { noteConflictingReadings } from './conflicting-readings.ts';
import { READINGS_OF_CELLS } from './derived-windows.ts';
import { replaceEstimates } from './estimates.ts';
import { touchMovedBoots } from './moved-boots.ts';
import { type ReplaceOptions, replaceHours } from './replace-hours.ts';
import { select } from './select.ts';
import { sourcesByCustomer } from './sources.ts';
import { cellsOf, readTogether } from './touched-groups.ts';
import {
  ALL_HOURS,
  DRAINS_MAX,
  drainsOf,
  NOBODY,
  removeTouches,
  type TouchedHour,
  touchedHours,
} from './touched-hours.ts';
import { touchUsersOfUnnamed } from './unnamed-notices.ts';
import { inValues } from './value-bytes.ts';

export interface RollUpOptions extends ReplaceOptions {
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
