import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import type { Clock } from '../lib/clock.ts';
import { cellParameters, type Sources } from './cells.ts';
import { collapsedHourRows, HOUR_COLUMNS, hourRows, mostlyRegularHourRows, regularHourRows } from './hour-rows.ts';
import { type QueryParameters, select } from './select.ts';
import { Session } from './session.ts';
import { cellsOf, rectangles } from './touched-groups.ts';
import { AMONG_TOUCHED, type TouchedHour, touchedParameters } from './touched-hours.ts';

export interface ReplaceOptions {
  readonly clickhouse: ClickHouseClient;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const ROW_KEY = 'customer_id, hour, region, vm_id';
const REGULAR_ROWS = 'regular_rows';
const COLLAPSED_ROWS = 'collapsed_rows';

/**
 * Computes the pairs' hours and stores them.
 * @returns how many rows were written
 * @throws what ClickHouse reports; the signal's reason
 */
export async function replaceHours(
  options: ReplaceOptions,
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
 * which ones to walk. Where some are irregular, their sums with copies taken once come into a second one. A window that is
 * stored in between cannot make a regular row wrong for good: its touch comes after it, so it is not among those that this run
 * read and removes, and the hour is computed again.
 */
async function replacePlainHours(options: ReplaceOptions, touched: readonly TouchedHour[]): Promise<number> {
  const session = await sessionFor(options, touched);
  const keep = (table: string, rows: string): Promise<number> =>
    session.run(`CREATE TEMPORARY TABLE ${table} ENGINE = Memory AS ${rows}`, IN_ORDER);
  await keep(REGULAR_ROWS, regularHourRows(AMONG_TOUCHED));
  let rows = `SELECT * FROM ${REGULAR_ROWS}`;
  if (await hasIrregular(options, session)) {
    await keep(COLLAPSED_ROWS, collapsedHourRows(REGULAR_ROWS));
    rows = mostlyRegularHourRows(REGULAR_ROWS, COLLAPSED_ROWS);
  }
  const written = await session.run(replaceSql(rows), AS_ONE_PART);
  for (const table of [REGULAR_ROWS, COLLAPSED_ROWS]) await session.run(`DROP TEMPORARY TABLE IF EXISTS ${table}`);
  return written;
}

/** Most often there is none: then planning what irregular hours need would take half of the INSERT's time. */
async function hasIrregular({ clickhouse, signal }: ReplaceOptions, { id }: Session): Promise<boolean> {
  const irregular = `SELECT 1 FROM ${REGULAR_ROWS} WHERE irregular LIMIT 1`;
  return (await select(clickhouse, irregular, {}, signal, id)).length > 0;
}

/** Windows lie in the order that they are grouped in, so that no table of all VMs is built up. */
const IN_ORDER: ClickHouseSettings = { optimize_aggregation_in_order: 1 };

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
async function sessionFor(options: ReplaceOptions, touched: readonly TouchedHour[]): Promise<Session> {
  const { clickhouse, signal } = options;
  const pairs = touchedParameters(touched);
  const version = String(await nextVersion(options, pairs));
  return new Session(clickhouse, { ...cellParameters(cellsOf(touched)), ...pairs, version }, signal);
}

/** Greater than every version that these hours have, also when the clock went back. */
async function nextVersion(
  { clickhouse, clock, signal }: ReplaceOptions,
  parameters: QueryParameters,
): Promise<bigint> {
  const sql = `SELECT max(version) AS version FROM usage_hours WHERE ${AMONG_TOUCHED}`;
  const [row] = await select<{ version: string }>(clickhouse, sql, parameters, signal);
  const last = BigInt(row?.version ?? 0);
  const now = clock.nowNanos();
  return now > last ? now : last + 1n;
}

/** The rows computed now; and where a stored row has none, for instance of a region that lost its VM, its removal. */
function replaceSql(rows: string): string {
  const columns = HOUR_COLUMNS.join(', ');
  return `INSERT INTO usage_hours (${columns}, version, is_deleted)
    SELECT ${columns}, {version:UInt64}, NOT is_computed
    FROM (SELECT *, 1 AS is_computed FROM (${rows})) AS computed
    FULL JOIN (SELECT ${ROW_KEY} FROM usage_hours FINAL WHERE ${AMONG_TOUCHED}) AS stored USING (${ROW_KEY})`;
}
