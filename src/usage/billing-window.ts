import type { ClickHouseClient } from '@clickhouse/client';
import { CallerFault } from '../lib/failure.ts';
import { hourShares } from './hour-shares.ts';
import { CHOSEN_REPORTS } from './first-reports.ts';
import { HOUR_NANOS, select } from './select.ts';
import { touchedHoursOf } from './touched-hours.ts';
import type { TimeRange } from './whole-hours.ts';
import {
  type AcceptedWindow,
  QUANTITY_COLUMNS,
  type Quantities,
  quantitiesOf,
  type UsageQuantities,
} from './window.ts';

export interface BillingWindowRequest {
  readonly customerId: string;
  readonly vmId: string;
  readonly startNanos: bigint;
  /** `undefined`: the window that starts there, if it is one. */
  readonly endNanos: bigint | undefined;
}

/** One host's report of a window. */
export interface WindowReport extends AcceptedWindow {
  readonly sampledAtNanos: bigint;
  readonly cpuUtilizationPct: number;
  readonly cpuCoresUsed: number;
  readonly memoryBytesUsed: bigint;
  readonly memoryBytesPeak: bigint;
  readonly bootId: string;
  readonly receivedAtNanos: bigint;
  readonly credentialId: string;
  readonly instanceId: string;
  readonly sequence: bigint;
  /** Of the region and the measured values. */
  readonly valueHash: bigint;
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
}

const REPORTS_MAX = 1_000;
/** Where `DateTime64(9)` ends, in 2262. */
const NANOS_END = 2n ** 63n;
const SECOND_NANOS = 1_000_000_000n;

/** A row with `REPORT_COLUMNS`. */
export type ReportRow = Record<
  (typeof QUANTITY_COLUMNS)[keyof Quantities] | 'start' | 'end' | 'sampled' | 'received' | 'value_hash',
  string
> &
  Record<'region' | 'boot_id' | 'instance_id' | 'credential_id' | 'sequence', string> &
  Record<'memory_bytes_used' | 'memory_bytes_peak', string> &
  Record<'cpu_utilization_pct' | 'cpu_cores_used', number>;

/** Of `windows`, with `received_at`. */
export const REPORT_COLUMNS = `reinterpretAsInt64(window_start) AS start, reinterpretAsInt64(window_end) AS end, value_hash,
  region, ${Object.values(QUANTITY_COLUMNS).join(', ')}, cpu_utilization_pct, cpu_cores_used, memory_bytes_used,
  memory_bytes_peak, reinterpretAsInt64(sampled_at) AS sampled, boot_id, instance_id, sequence, credential_id,
  reinterpretAsInt64(received_at) AS received`;

/**
 * One window with where it came from and what became of it.
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
  return { report, conflicting, hours: await readHours(clickhouse, report, signal) };
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

/** Each value of the key once, the first received report of it; the one that counts comes first. */
async function readReports(
  clickhouse: ClickHouseClient,
  request: BillingWindowRequest,
  signal: AbortSignal,
): Promise<WindowReport[]> {
  const rows = await select<ReportRow>(
    clickhouse,
    `SELECT ${REPORT_COLUMNS},
       (customer_id, vm_id, window_start, window_end, value_hash) IN (${CHOSEN_REPORTS}
         WHERE customer_id = {customer:String} AND vm_id = {vm:String}) AS is_chosen
     FROM windows
     WHERE customer_id = {customer:String} AND vm_id = {vm:String} AND window_start = fromUnixTimestamp64Nano({start:Int64}, 'UTC')
       ${request.endNanos === undefined ? '' : "AND window_end = fromUnixTimestamp64Nano({end:Int64}, 'UTC')"}
     ORDER BY is_chosen DESC, precedence DESC, value_hash LIMIT 1 BY window_end, value_hash LIMIT {limit:UInt32}`,
    {
      customer: request.customerId,
      vm: request.vmId,
      start: String(request.startNanos),
      end: String(request.endNanos ?? 0n),
      limit: REPORTS_MAX,
    },
    signal,
  );
  return rows.map((row) => parseReport(request, row));
}

export function parseReport(
  { customerId, vmId }: Pick<WindowReport, 'customerId' | 'vmId'>,
  row: ReportRow,
): WindowReport {
  return {
    customerId,
    vmId,
    region: row.region,
    startNanos: BigInt(row.start),
    endNanos: BigInt(row.end),
    ...quantitiesOf((field) => BigInt(row[QUANTITY_COLUMNS[field]])),
    sampledAtNanos: BigInt(row.sampled),
    cpuUtilizationPct: row.cpu_utilization_pct,
    cpuCoresUsed: row.cpu_cores_used,
    memoryBytesUsed: BigInt(row.memory_bytes_used),
    memoryBytesPeak: BigInt(row.memory_bytes_peak),
    bootId: row.boot_id,
    receivedAtNanos: BigInt(row.received),
    credentialId: row.credential_id,
    instanceId: row.instance_id,
    sequence: BigInt(row.sequence),
    valueHash: BigInt(row.value_hash),
  };
}

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
