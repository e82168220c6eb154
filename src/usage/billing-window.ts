import type { ClickHouseClient } from '@clickhouse/client';
import { CallerFault } from '../lib/failure.ts';
import { CHOSEN_REPORTS } from './chosen-reports.ts';
import { derivedReport } from './derived-report.ts';
import { hourShares } from './hour-shares.ts';
import { HOUR_NANOS, select } from './select.ts';
import { touchedHoursOf } from './touched-hours.ts';
import type { TimeRange } from './whole-hours.ts';
import type { UsageQuantities } from './window.ts';
import { parseReport, REPORT_COLUMNS, type ReportRow, type WindowReport } from './window-report.ts';

export interface BillingWindowRequest {
  readonly customerId: string;
  readonly vmId: string;
  readonly startNanos: bigint;
  /** `undefined`: the window that starts there, if it is one. */
  readonly endNanos: bigint | undefined;
}

interface WindowHour {
  readonly startNanos: bigint;
  readonly share: UsageQuantities;
  /** Whether the hour is computed anew since windows were last stored for it. */
  readonly rolledUp: boolean;
}

export interface BillingWindow {
  /** What counts: the first report, or the one that somebody chose. */
  readonly report: WindowReport;
  /** Reports with other values, by time of receipt. They do not count. At most 1,000 are read. */
  readonly conflicting: WindowReport[];
  readonly hours: WindowHour[];
  /** Of a window that was derived: the readings that it lies between. */
  readonly readings: WindowReport[];
}

const REPORTS_MAX = 1_000;
/** Where `DateTime64(9)` ends, in 2262. */
const NANOS_END = 2n ** 63n;
const SECOND_NANOS = 1_000_000_000n;

/**
 * One window with where it came from and what became of it: as it was reported, or, where none was, as readings of counters come to.
 * @throws CallerFault `not_found` where none is stored, `invalid_argument` where no end is given and several windows
 *   start there; what ClickHouse reports; the signal's reason
 */
export async function billingWindow(
  clickhouse: ClickHouseClient,
  request: BillingWindowRequest,
  signal: AbortSignal,
): Promise<BillingWindow> {
  checkRequest(request);
  const reports = await readReports(clickhouse, request, signal);
  const [report, ...conflicting] = reports;
  if (!report) {
    const derived = await derivedReport(clickhouse, request, signal);
    if (derived) return { ...derived, conflicting, hours: await readHours(clickhouse, derived.report, signal) };
    const end = request.endNanos === undefined ? '' : ` and ends at ${request.endNanos} ns`;
    const which = `${request.customerId}'s VM ${request.vmId} that starts at ${request.startNanos} ns since 1970${end}`;
    throw new CallerFault('not_found', 'window_start', `no window is stored of ${which}`);
  }
  const ends = [...new Set(reports.map((each) => each.endNanos))];
  if (ends.length > 1) {
    const list = ends.slice(0, 10).join(', ');
    throw new CallerFault(
      'invalid_argument',
      'window_end',
      `${ends.length} windows start there; window_end is one of ${list} ns`,
    );
  }
  return { report, conflicting, hours: await readHours(clickhouse, report, signal), readings: [] };
}

function checkRequest(request: BillingWindowRequest): void {
  for (const [field, value] of [
    ['customer_id', request.customerId],
    ['vm_id', request.vmId],
  ] as const) {
    if (value === '') throw new CallerFault('invalid_argument', field, `${field} is empty`);
  }
  for (const [field, nanos] of [
    ['window_start', request.startNanos],
    ['window_end', request.endNanos ?? request.startNanos],
  ] as const) {
    if (nanos < 0n || nanos >= NANOS_END) {
      throw new CallerFault(
        'invalid_argument',
        field,
        `${field} is ${nanos} ns since 1970, not from 0 to ${NANOS_END - 1n}`,
      );
    }
  }
}

/**
 * Each value of the key once, the first received report of it; the one that counts comes first. Nearly every window has one
 * report, and looking for a choice between several is a fifth of what the whole call costs ClickHouse.
 */
async function readReports(
  clickhouse: ClickHouseClient,
  request: BillingWindowRequest,
  signal: AbortSignal,
): Promise<WindowReport[]> {
  const ask = (isChosen: string, limit: number) => {
    const sql = `SELECT ${REPORT_COLUMNS}, ${isChosen} AS is_chosen FROM windows
      WHERE customer_id = {customer:String} AND vm_id = {vm:String} AND window_start = fromUnixTimestamp64Nano({start:Int64}, 'UTC')
        ${request.endNanos === undefined ? '' : "AND window_end = fromUnixTimestamp64Nano({end:Int64}, 'UTC')"}
      ORDER BY is_chosen DESC, precedence DESC, value_hash LIMIT 1 BY window_end, value_hash LIMIT {limit:UInt32}`;
    const parameters = {
      customer: request.customerId,
      vm: request.vmId,
      start: String(request.startNanos),
      end: String(request.endNanos ?? 0n),
      limit,
    };
    return select<ReportRow>(clickhouse, sql, parameters, signal);
  };
  const few = await ask('0', 2);
  const rows = few.length < 2 ? few : await ask(IS_CHOSEN, REPORTS_MAX);
  return rows.map((row) => parseReport(request, row));
}

const IS_CHOSEN = `(customer_id, vm_id, window_start, window_end, value_hash) IN (${CHOSEN_REPORTS}
  WHERE customer_id = {customer:String} AND vm_id = {vm:String})`;

async function readHours(
  clickhouse: ClickHouseClient,
  report: WindowReport,
  signal: AbortSignal,
): Promise<WindowHour[]> {
  const shares = hourShares(report);
  const hourOf = (range: TimeRange) => Number((range.startNanos - (range.startNanos % HOUR_NANOS)) / SECOND_NANOS);
  const hours = shares.map(hourOf);
  const range = { from: Math.min(...hours), until: Math.max(...hours) + 1 };
  const touched = await touchedHoursOf(clickhouse, report.customerId, range, signal);
  return shares.map((share, index) => ({
    startNanos: BigInt(hours[index] ?? 0) * SECOND_NANOS,
    share: {
      ...share.values,
      observedNanos: share.endNanos - share.startNanos,
      windows: 1n,
    },
    rolledUp: !touched.includes(hours[index] ?? 0),
  }));
}
