import type { ClickHouseClient } from '@clickhouse/client';
import type { Clock } from '../lib/clock.ts';
import { type Cells, cellParameters, GAP_NANOS, QUANTITIES, type Sources } from './cells.ts';
import { withHoles } from './coverage.ts';
import { countedWindows } from './first-reports.ts';
import { HOUR_NANOS, HOUR_SECONDS, select } from './select.ts';
import { Session } from './session.ts';
import { sourcesOf } from './sources.ts';

/** The sort key of `usage_estimates`. */
const ROW_KEY = 'customer_id, hour, vm_id, gap_start, region';
const WAYS = ['interpolated', 'carried'] as const;
const AMOUNTS = WAYS.flatMap((way) => QUANTITIES.map((column) => `${way}_${column}`));
/** Of `usage_estimates`, but for `version` and `is_deleted`. */
const ESTIMATE_COLUMNS = ['customer_id', 'hour', 'region', 'vm_id', 'gap_start', 'gap_end', 'nanos', ...AMOUNTS];
const GAPS = 'short_gaps';

interface EstimateOptions {
  readonly clickhouse: ClickHouseClient;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Computes anew what could be filled in around the cells' hours, from hours as they are stored now, and stores what is
 * different. A window ends or begins gaps of at most an hour: they reach into its hour and those before and after.
 * @returns how many rows were written
 * @throws what ClickHouse reports; the signal's reason
 */
export async function replaceEstimates(options: EstimateOptions, cells: Cells): Promise<number> {
  const { clickhouse, clock, signal } = options;
  const near = { customerIds: cells.customerIds, hours: around(cells.hours, 2) };
  const parameters = { ...cellParameters(near), wanted: around(cells.hours, 1) };
  const [row] = await select<{ vms: string; stored: string; version: string }>(
    clickhouse,
    `SELECT (SELECT count() FROM (${VMS_WITH_GAPS})) AS vms, (SELECT count() FROM ${STORED_ESTIMATES}) AS stored,
       max(version) AS version FROM usage_estimates WHERE ${WANTED_HOURS}`,
    parameters,
    signal,
  );
  if (row === undefined) throw new Error('the count of estimates came back without its row');
  if (row.vms === '0' && row.stored === '0') return 0;
  // Greater than every version that these hours have, of what was removed too, also when the clock went back.
  const [last, now] = [BigInt(row.version), clock.nowNanos()];
  const version = String(now > last ? now : last + 1n);
  const session = new Session(clickhouse, { ...parameters, version }, signal);
  const gaps = await storeGaps(
    session,
    `SELECT * FROM ${STORED_HOURS} WHERE (customer_id, vm_id) IN (${VMS_WITH_GAPS})`,
  );
  const isNothing = gaps === 0 && row.stored === '0';
  const written = isNothing ? 0 : await storeEstimates(session, await sourcesOf(clickhouse, near, signal));
  await session.run(`DROP TEMPORARY TABLE ${GAPS}`);
  return written;
}

/**
 * Makes the session's temporary table `table` with the estimates of hours that are computed now, with the columns of
 * `usage_estimates`. The session has the parameters of the cells that `rows` are of, and `wanted`, the hours to estimate.
 */
export async function computeEstimates(session: Session, rows: string, sources: Sources, table: string): Promise<void> {
  await storeGaps(session, rows);
  await session.run(`CREATE TEMPORARY TABLE ${table} ENGINE = Memory AS ${estimateRows(sources)}`);
}

/** The hours with as many before and after each. */
export function around(hours: readonly number[], distance: number): number[] {
  const found = new Set<number>();
  for (const hour of hours) {
    for (let by = -distance; by <= distance; by++) found.add(hour + by * HOUR_SECONDS);
  }
  return [...found].toSorted((a, b) => a - b);
}

const STORED_HOURS = `(SELECT * FROM usage_hours FINAL
  WHERE customer_id IN {customers:Array(String)} AND hour IN {hours:Array(DateTime('UTC'))})`;
const WANTED_HOURS = `customer_id IN {customers:Array(String)} AND hour IN {wanted:Array(DateTime('UTC'))}`;
const STORED_ESTIMATES = `(SELECT * FROM usage_estimates FINAL WHERE ${WANTED_HOURS})`;

/** More than those that have short gaps, by plain sums: most have none. */
const VMS_WITH_GAPS = `SELECT customer_id, vm_id FROM ${STORED_HOURS} AS near_hours GROUP BY customer_id, vm_id
  HAVING reinterpretAsInt64(max(last_end)) - reinterpretAsInt64(min(first_start)) - sum(observed_nanos) > ${GAP_NANOS}`;

function storeEstimates(session: Session, sources: Sources): Promise<number> {
  return session.run(replaceSql(sources), {
    // One part per month: a reader sees all that changes or nothing of it.
    max_insert_threads: '1',
    optimize_on_insert: 0,
    // A row that only one side has must get zeros from the other.
    join_use_nulls: 0,
  });
}

/** @param rows SQL for rows with the columns of `usage_hours` @returns how many gaps there are */
async function storeGaps(session: Session, rows: string): Promise<number> {
  const gaps = 'arrayMap(gap -> (reinterpretAsInt64(gap.1), vm_id, reinterpretAsInt64(gap.2)), near_hours.gaps)';
  const marked = `SELECT customer_id, vm_id, hour, region, edges, ${gaps} AS gaps,
      reinterpretAsInt64(first_start) AS first, reinterpretAsInt64(last_end) AS last
    FROM (${rows}) AS near_hours`;
  return session.run(`CREATE TEMPORARY TABLE ${GAPS} ENGINE = Memory AS
    SELECT customer_id, vm_id, gap.1 AS started, gap.3 AS ended
    FROM (${withHoles(marked, 'customer_id, vm_id')}) ARRAY JOIN found_gaps AS gap
    WHERE ended - started <= ${HOUR_NANOS}`);
}

/** The estimates of the gaps, in the hours that are wanted: `docs/money.md` has the amounts. */
function estimateRows(sources: Sources): string {
  const windows = `SELECT customer_id, vm_id, region, reinterpretAsInt64(window_start) AS started,
      reinterpretAsInt64(window_end) AS ended, toUInt256(ended - started) AS length, [${QUANTITIES.join(', ')}] AS amounts
    FROM (${countedWindows(`(customer_id, vm_id) IN (SELECT customer_id, vm_id FROM ${GAPS})`, sources)})`;
  const beside = (bound: string) => `SELECT * FROM (${windows})
    WHERE (customer_id, vm_id, ${bound === 'started' ? 'ended' : 'started'}) IN (SELECT customer_id, vm_id, ${bound} FROM ${GAPS})
    ORDER BY length, region LIMIT 1 BY customer_id, vm_id, ${bound === 'started' ? 'ended' : 'started'}`;
  const interpolated = `intDiv(whole * (toUInt256(v1) * after.length + toUInt256(v2) * before.length), 2 * before.length * after.length)`;
  // What an amount of the gap has in the hour: up to the hour's end less what it had up to the hour's start.
  const inHour = (amount: string) => `arrayMap(amount -> toUInt128(intDiv(amount * (part_end - gap.started), whole)
      - intDiv(amount * (part_start - gap.started), whole)), ${amount})`;
  return `WITH toUInt256(gap.ended - gap.started) AS whole,
      arrayMap((v1, v2) -> ${interpolated}, before.amounts, after.amounts) AS linear,
      arrayMap(v1 -> intDiv(whole * toUInt256(v1), before.length), before.amounts) AS carried,
      toInt64(hour_seconds) * 1000000000 AS hour_start,
      greatest(gap.started, hour_start) AS part_start, least(gap.ended, hour_start + ${HOUR_NANOS}) AS part_end,
      arrayConcat(${inHour('linear')}, ${inHour('carried')}) AS found
    SELECT gap.customer_id AS customer_id, toDateTime(hour_seconds, 'UTC') AS hour, after.region AS region, gap.vm_id AS vm_id,
      fromUnixTimestamp64Nano(gap.started, 'UTC') AS gap_start, fromUnixTimestamp64Nano(gap.ended, 'UTC') AS gap_end,
      toUInt64(part_end - part_start) AS nanos, ${AMOUNTS.map((column, index) => `found[${index + 1}] AS ${column}`).join(', ')}
    FROM ${GAPS} AS gap
    JOIN (${beside('started')}) AS before
      ON gap.customer_id = before.customer_id AND gap.vm_id = before.vm_id AND gap.started = before.ended
    JOIN (${beside('ended')}) AS after
      ON gap.customer_id = after.customer_id AND gap.vm_id = after.vm_id AND gap.ended = after.started
    ARRAY JOIN arrayMap(number -> number * ${HOUR_SECONDS},
      range(toUInt64(intDiv(gap.started, ${HOUR_NANOS})), toUInt64(intDiv(gap.ended - 1, ${HOUR_NANOS}) + 1))) AS hour_seconds
    WHERE hour IN {wanted:Array(DateTime('UTC'))}`;
}

/** The estimates of now, where none is stored or another one, and the removal of those that are none any more. */
function replaceSql(sources: Sources): string {
  const columns = ESTIMATE_COLUMNS.join(', ');
  const values = ['gap_end', 'nanos', ...AMOUNTS];
  const isSame = `is_computed AND is_stored AND ${values.map((column) => `computed.${column} = stored.${column}`).join(' AND ')}`;
  return `INSERT INTO usage_estimates (${columns}, version, is_deleted)
    SELECT ${ESTIMATE_COLUMNS.map((column) => (values.includes(column) ? `computed.${column}` : column)).join(', ')},
      {version:UInt64}, NOT is_computed
    FROM (SELECT *, 1 AS is_computed FROM (${estimateRows(sources)})) AS computed
    FULL JOIN (SELECT *, 1 AS is_stored FROM ${STORED_ESTIMATES}) AS stored USING (${ROW_KEY})
    WHERE NOT (${isSame})`;
}
