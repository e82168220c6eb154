import type { ClickHouseClient } from '@clickhouse/client';
import type { Clock } from '../lib/clock.ts';
import { CallerFault } from '../lib/failure.ts';
import { parseId } from '../lib/identifier.ts';
import { dateTime64 } from '../storage/clickhouse/date-time.ts';
import { parseReport, REPORT_COLUMNS, type ReportRow, type WindowReport } from './window-report.ts';
import { conflictingReadings, READING_REPORTS } from './conflicting-readings.ts';
import { HOUR_NANOS, HOUR_SECONDS, type QueryParameters, select } from './select.ts';
import { touchHours } from './touched-hours.ts';
import { type TimeRange, wholeHours } from './whole-hours.ts';

/** What a window is known by, or as a window without length a reading of counters. Times are Unix nanoseconds. */
export interface WindowKey {
  readonly customerId: string;
  readonly vmId: string;
  readonly startNanos: bigint;
  readonly endNanos: bigint;
}

/** Which report of a window counts, as somebody decided. */
export interface Resolution {
  readonly valueHash: bigint;
  /** The key that decided. */
  readonly resolvedBy: string;
  readonly resolvedAtNanos: bigint;
  readonly reason: string;
}

/** A window, or the reading of an instant, that was reported with different values. */
export interface Conflict extends WindowKey {
  /** Each value once, by time of receipt; at most 100. */
  readonly reports: readonly WindowReport[];
  /** `undefined` while nobody has decided: the first report counts. */
  readonly resolution: Resolution | undefined;
}

export interface ConflictFilter extends TimeRange {
  /** Empty: of every customer. */
  readonly customerId: string;
  readonly includeResolved: boolean;
}

export interface ResolveRequest extends WindowKey {
  readonly valueHash: bigint;
  readonly reason: string;
}

export interface ConflictStore {
  readonly clickhouse: ClickHouseClient;
  readonly clock: Clock;
  /** How long windows and readings are kept. */
  readonly rawDays: number;
  /** Puts a decision on record. Called before it takes effect, so that none is in effect that is not on record. */
  readonly record: (key: WindowKey, resolution: Resolution) => Promise<void>;
}

const REPORTS_MAX = 100;
const REASON_BYTES_MAX = 400;
const DAY_NANOS = 24n * HOUR_NANOS;
/** What is computed anew rests on what is stored of up to two hours before. */
const REACH_NANOS = 2n * HOUR_NANOS;
/** Where `DateTime64(9)` ends, in 2262. */
const NANOS_END = 2n ** 63n;

/**
 * Windows that start in the range and readings in it, by customer, VM, start and end; those behind `after` only.
 * @param filter the range is on whole hours of UTC and at most 400 days long
 * @throws CallerFault where the range is wrong; what ClickHouse reports; the signal's reason
 */
export async function listConflicts(
  clickhouse: ClickHouseClient,
  filter: ConflictFilter,
  page: { readonly after: WindowKey | undefined; readonly limit: number },
  signal: AbortSignal,
): Promise<Conflict[]> {
  const { customerId, includeResolved } = filter;
  const { from, until } = wholeHours(filter);
  const parameters = { customer: customerId, from, until, ...afterParameters(page.after), limit: page.limit };
  const ofCustomer = customerId === '' ? 'true' : 'customer_id = {customer:String}';
  const behind = page.after === undefined ? 'true' : BEHIND;
  const inRange = (start: string) => `${ofCustomer}
    AND ${start} >= toDateTime64({from:Int64}, 9, 'UTC') AND ${start} < toDateTime64({until:Int64}, 9, 'UTC')`;
  const where = `${inRange('window_start')} AND ${behind}`;
  const inHours = customerId === '' ? `${where} AND ${IN_HOURS_WITH_CONFLICTS}` : where;
  const readings = conflictingReadings(`${ofCustomer} AND ${OF_RANGE}`, inRange);
  const found = await Promise.all([
    readConflicts(
      clickhouse,
      { of: WINDOWS, keys: keysOf(WINDOWS, inHours), where: inHours, parameters, includeResolved },
      signal,
    ),
    readConflicts(
      clickhouse,
      { of: READINGS, keys: `SELECT * FROM (${readings}) WHERE ${behind}`, where, parameters, includeResolved },
      signal,
    ),
  ]);
  return found.flat().toSorted(inOrder).slice(0, page.limit);
}

/**
 * Says which report of a window or reading counts; its hours are computed anew by the next rollup, and read anew at once. The same
 * again only has them computed once more. Of decisions made at once the one of the later time holds.
 * @throws CallerFault not_found, failed_precondition where there is one value only, invalid_argument where none has the
 *   hash, out_of_range where its hours could not be computed any more; what ClickHouse and `record` throw; the signal's reason
 */
export async function resolveConflict(
  store: ConflictStore,
  request: ResolveRequest,
  actor: string,
  signal: AbortSignal,
): Promise<Conflict> {
  checkRequest(request);
  checkKept(request, store);
  const conflict = await readConflict(store.clickhouse, request, signal);
  checkChoice(conflict, request.valueHash);
  const before = conflict.resolution;
  const isSame = before?.valueHash === request.valueHash;
  const resolution = isSame ? before : resolutionOf(store.clock, request, actor, before);
  if (!isSame) {
    await store.record(keyOf(request), resolution);
    // Before the decision is in effect, too: where this try ends right behind that, stored hours must not go on without it.
    await touchHours(store.clickhouse, request.customerId, hoursOf(request), signal);
    await store.clickhouse.insert({
      table: 'conflict_resolutions',
      values: [toRow(request, resolution)],
      format: 'JSONEachRow',
      abort_signal: signal,
    });
  }
  // A rollup may have removed the touches of before already. Also where nothing is new: the try before may have ended in between.
  await touchHours(store.clickhouse, request.customerId, hoursOf(request), signal);
  return { ...conflict, resolution };
}

const KEY = 'customer_id, vm_id, window_start, window_end';
/**
 * The rollup notes for each hour of a VM how many conflicts it has: a sixtieth of the windows, and a column of mostly zeros.
 * In hours that wait for it there may be more, and what was decided is no conflict of an hour any more.
 */
const OF_RANGE = `hour >= toDateTime({from:Int64}, 'UTC') AND hour < toDateTime({until:Int64}, 'UTC')`;
const IN_HOURS_WITH_CONFLICTS = `((customer_id, vm_id, toStartOfHour(window_start)) IN (
    SELECT customer_id, vm_id, hour FROM usage_hours WHERE ${OF_RANGE} AND conflicts > 0)
  OR (customer_id, toStartOfHour(window_start)) IN (SELECT customer_id, hour FROM touched_hours WHERE ${OF_RANGE})
  OR (${KEY}) IN (SELECT ${KEY} FROM conflict_resolutions))`;
const BEHIND = `customer_id >= {after_customer:String} AND (${KEY}) > ({after_customer:String}, {after_vm:String},
  fromUnixTimestamp64Nano({after_start:Int64}, 'UTC'), fromUnixTimestamp64Nano({after_end:Int64}, 'UTC'))`;

function afterParameters(after: WindowKey | undefined): QueryParameters {
  if (after === undefined) return {};
  const { customerId, vmId, startNanos, endNanos } = after;
  return { after_customer: customerId, after_vm: vmId, after_start: String(startNanos), after_end: String(endNanos) };
}

/** Where reports come from. */
interface Kind {
  readonly noun: string;
  /** With the columns of `windows`. */
  readonly table: string;
  readonly selected: string;
  readonly columns: string;
}

const WINDOWS: Kind = { noun: 'window', table: 'windows', selected: '*, received_at', columns: REPORT_COLUMNS };
const READINGS: Kind = {
  noun: 'reading',
  table: READING_REPORTS,
  selected: '*',
  columns: `${REPORT_COLUMNS}, counters`,
};

interface Selection {
  readonly of: Kind;
  /** SQL for the keys that were reported with different values, among others that do not matter; with the parameter `limit`. */
  readonly keys: string;
  /** A condition on the reports. */
  readonly where: string;
  readonly parameters: QueryParameters;
  readonly includeResolved: boolean;
}

function keysOf({ table }: Kind, where: string): string {
  return `SELECT ${KEY} FROM ${table} WHERE ${where} GROUP BY ${KEY} HAVING min(value_hash) != max(value_hash)`;
}

type ConflictRow = ReportRow &
  Record<'customer_id' | 'vm_id' | 'resolved_hash' | 'resolved_by' | 'resolved_nanos' | 'reason', string>;

async function readConflicts(
  clickhouse: ClickHouseClient,
  { of, keys, where, parameters, includeResolved }: Selection,
  signal: AbortSignal,
): Promise<Conflict[]> {
  const open = includeResolved ? 'true' : `(${KEY}) NOT IN (SELECT ${KEY} FROM conflict_resolutions)`;
  const rows = await select<ConflictRow>(
    clickhouse,
    `SELECT customer_id, vm_id, ${of.columns}, toString(resolution.value_hash) AS resolved_hash, resolved_by,
       toString(reinterpretAsInt64(resolved_at)) AS resolved_nanos, reason
     FROM (
       SELECT ${of.selected} FROM ${of.table}
       WHERE ${where} AND (${KEY}) IN (SELECT ${KEY} FROM (${keys}) WHERE ${open} ORDER BY ${KEY} LIMIT {limit:UInt32})
       ORDER BY ${KEY}, value_hash, precedence DESC LIMIT 1 BY ${KEY}, value_hash
     ) AS report
     LEFT JOIN (SELECT * FROM conflict_resolutions FINAL) AS resolution USING (${KEY})
     ORDER BY ${KEY}, precedence DESC, report.value_hash LIMIT {reports:UInt32} BY ${KEY}`,
    { ...parameters, reports: REPORTS_MAX },
    signal,
  );
  const conflicts: (Conflict & { readonly reports: WindowReport[] })[] = [];
  for (const row of rows) {
    const report = parseReport({ customerId: row.customer_id, vmId: row.vm_id }, row);
    const last = conflicts.at(-1);
    if (last !== undefined && isSameKey(last, report)) last.reports.push(report);
    else conflicts.push({ ...keyOf(report), reports: [report], resolution: parseResolution(row) });
  }
  return conflicts;
}

function parseResolution(row: ConflictRow): Resolution | undefined {
  // Without one the join has the columns' defaults.
  if (row.resolved_by === '') return undefined;
  const { resolved_by: resolvedBy, reason } = row;
  return {
    valueHash: BigInt(row.resolved_hash),
    resolvedBy,
    resolvedAtNanos: BigInt(row.resolved_nanos),
    reason,
  };
}

async function readConflict(clickhouse: ClickHouseClient, key: WindowKey, signal: AbortSignal): Promise<Conflict> {
  const where = `customer_id = {customer:String} AND vm_id = {vm:String}
    AND window_start = fromUnixTimestamp64Nano({start:Int64}, 'UTC') AND window_end = fromUnixTimestamp64Nano({end:Int64}, 'UTC')`;
  const parameters = {
    customer: key.customerId,
    vm: key.vmId,
    start: String(key.startNanos),
    end: String(key.endNanos),
    limit: 1,
  };
  const of = isReading(key) ? READINGS : WINDOWS;
  const selection = { of, keys: keysOf(of, where), where, parameters, includeResolved: true };
  const [conflict] = await readConflicts(clickhouse, selection, signal);
  if (conflict !== undefined) return conflict;
  const [stored] = await select(clickhouse, `SELECT 1 FROM ${of.table} WHERE ${where} LIMIT 1`, parameters, signal);
  const which = `${key.customerId}'s VM ${key.vmId} from ${key.startNanos} to ${key.endNanos} ns since 1970`;
  if (stored === undefined) {
    throw new CallerFault('not_found', 'window_start', `window_start: no ${of.noun} is stored of ${which}`);
  }
  const message = `window_start: the ${of.noun} of ${which} has one value: there is nothing to decide`;
  throw new CallerFault('failed_precondition', 'window_start', message);
}

function checkRequest({ customerId, vmId, startNanos, endNanos, reason }: ResolveRequest): void {
  parseId('customer_id', customerId);
  parseId('vm_id', vmId);
  parseId('reason', reason, REASON_BYTES_MAX);
  for (const [field, nanos] of [
    ['window_start', startNanos],
    ['window_end', endNanos],
  ] as const) {
    if (nanos >= 0n && nanos < NANOS_END) continue;
    const message = `${field} is ${nanos} ns since 1970, not from 0 to ${NANOS_END - 1n}`;
    throw new CallerFault('invalid_argument', field, message);
  }
}

/** As ingest refuses what came too late: of hours that old, some of what they are computed from may be gone. */
function checkKept({ endNanos }: ResolveRequest, { clock, rawDays }: ConflictStore): void {
  const keptNanos = clock.nowNanos() - BigInt(rawDays) * DAY_NANOS + REACH_NANOS;
  if (endNanos >= keptNanos) return;
  const message = `window_end: ${endNanos} is before ${keptNanos} ns since 1970: windows are kept for ${rawDays} days, and its hours could not be computed from all of them`;
  throw new CallerFault('out_of_range', 'window_end', message);
}

function checkChoice({ reports }: Conflict, valueHash: bigint): void {
  if (reports.some((report) => report.valueHash === valueHash)) return;
  const hashes = reports.slice(0, 10).map((report) => hashText(report.valueHash));
  const message = `value_hash: "${hashText(valueHash)}" is of no report of the window; they have ${hashes.join(', ')}`;
  throw new CallerFault('invalid_argument', 'value_hash', message);
}

/** As the contract writes it: 16 hexadecimal digits. */
function hashText(hash: bigint): string {
  return hash.toString(16).padStart(16, '0');
}

function resolutionOf(
  clock: Clock,
  { valueHash, reason }: ResolveRequest,
  actor: string,
  before: Resolution | undefined,
): Resolution {
  const now = clock.nowNanos();
  const earliest = before === undefined ? 0n : before.resolvedAtNanos + 1n;
  // Later than the one before it, also where the clock went back: the latest one holds.
  return { valueHash, resolvedBy: actor, resolvedAtNanos: now > earliest ? now : earliest, reason };
}

/**
 * Unix seconds of the hours that may change: those that a window reaches into, one or two; of a reading those from an hour before it
 * to two hours after it, since one that is higher than those behind it makes failed reads of them.
 */
function hoursOf(key: WindowKey): number[] {
  const [first, last] = isReading(key)
    ? [key.startNanos - HOUR_NANOS, key.endNanos + 2n * HOUR_NANOS]
    : [key.startNanos, key.endNanos - 1n];
  const [from, until] = [first / HOUR_NANOS, last / HOUR_NANOS];
  return Array.from({ length: Number(until - from) + 1 }, (_, index) => (Number(from) + index) * HOUR_SECONDS);
}

/** What is reported for an instant is a reading: no window is empty. */
function isReading({ startNanos, endNanos }: WindowKey): boolean {
  return startNanos === endNanos;
}

function toRow(key: WindowKey, resolution: Resolution): Record<string, string> {
  return {
    customer_id: key.customerId,
    vm_id: key.vmId,
    window_start: dateTime64(key.startNanos),
    window_end: dateTime64(key.endNanos),
    value_hash: String(resolution.valueHash),
    resolved_by: resolution.resolvedBy,
    resolved_at: dateTime64(resolution.resolvedAtNanos),
    reason: resolution.reason,
  };
}

function keyOf({ customerId, vmId, startNanos, endNanos }: WindowKey): WindowKey {
  return { customerId, vmId, startNanos, endNanos };
}

/** As ClickHouse sorts them. */
function inOrder(a: WindowKey, b: WindowKey): number {
  const byText = (first: string, second: string) => Buffer.compare(Buffer.from(first), Buffer.from(second));
  const byCustomerAndVm = byText(a.customerId, b.customerId) || byText(a.vmId, b.vmId);
  return byCustomerAndVm || Number(a.startNanos - b.startNanos) || Number(a.endNanos - b.endNanos);
}

function isSameKey(a: WindowKey, b: WindowKey): boolean {
  const isSameVm = a.customerId === b.customerId && a.vmId === b.vmId;
  return isSameVm && a.startNanos === b.startNanos && a.endNanos === b.endNanos;
}
