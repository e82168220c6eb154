import type { ClickHouseClient } from '@clickhouse/client';
import { cellParameters } from './cells.ts';
import { CHOSEN_REPORTS } from './chosen-reports.ts';
import { READING_REPORTS } from './conflicting-readings.ts';
import { derivedWindows } from './derived-windows.ts';
import { HOUR_NANOS, HOUR_SECONDS, select } from './select.ts';
import { QUANTITY_COLUMNS, type Quantities, quantitiesOf } from './window.ts';
import { parseReport, REPORT_COLUMNS, type ReportRow, type WindowReport } from './window-report.ts';

/** A window that was derived from readings of counters. */
export interface DerivedReport {
  /** Its values, with the origin of the reading that it ends at. */
  readonly report: WindowReport;
  /** What was reported for the instants that it lies between, in order of time, of each instant what counts first. At most 1,000. */
  readonly readings: WindowReport[];
}

/** Which window is meant. Times are Unix nanoseconds. */
interface Place {
  readonly customerId: string;
  readonly vmId: string;
  readonly startNanos: bigint;
  /** `undefined`: whichever starts there. */
  readonly endNanos: bigint | undefined;
}

const READINGS_MAX = 1_000;

/**
 * The window that readings of counters come to; `undefined` where none starts there. Of two, one of deltas and one of totals, the
 * shorter one is answered unless the end is given.
 * @throws what ClickHouse reports; the signal's reason
 */
export async function derivedReport(
  clickhouse: ClickHouseClient,
  place: Place,
  signal: AbortSignal,
): Promise<DerivedReport | undefined> {
  const { customerId, vmId, startNanos } = place;
  const hour = Number(startNanos / HOUR_NANOS) * HOUR_SECONDS;
  const columns = Object.values(QUANTITY_COLUMNS).map((column) => `toString(${column}) AS ${column}`);
  const [row] = await select<Record<string, string>>(
    clickhouse,
    `SELECT toString(region) AS in_region, toString(reinterpretAsInt64(window_end)) AS end, toString(value_hash) AS hash, ${columns.join(', ')}
     FROM (${derivedWindows('vm_id = {vm:String}')})
     WHERE window_start = fromUnixTimestamp64Nano({start:Int64}, 'UTC')
       ${place.endNanos === undefined ? '' : "AND window_end = fromUnixTimestamp64Nano({end:Int64}, 'UTC')"}
     ORDER BY window_end LIMIT 1`,
    {
      ...cellParameters({ customerIds: [customerId], hours: [hour] }),
      vm: vmId,
      start: String(startNanos),
      end: String(place.endNanos ?? 0n),
    },
    signal,
  );
  if (row === undefined) return undefined;
  const valueOf = (column: string) => BigInt(row[column] ?? 'missing');
  const endNanos = valueOf('end');
  const readings = await readingsAt(clickhouse, place, [startNanos, endNanos], signal);
  const last = readings.find((each) => each.endNanos === endNanos);
  if (last === undefined) throw new Error('a window was derived, and the reading that it ends at is not there');
  const values = quantitiesOf((field: keyof Quantities) => valueOf(QUANTITY_COLUMNS[field]));
  const region = row['in_region'] ?? '';
  const report = { ...last, ...values, region, startNanos, valueHash: valueOf('hash'), counters: undefined };
  return { report, readings };
}

async function readingsAt(
  clickhouse: ClickHouseClient,
  { customerId, vmId }: Place,
  instants: readonly bigint[],
  signal: AbortSignal,
): Promise<WindowReport[]> {
  const rows = await select<ReportRow>(
    clickhouse,
    `SELECT ${REPORT_COLUMNS}, counters, (customer_id, vm_id, window_start, window_end, value_hash) IN (${CHOSEN_REPORTS}
         WHERE customer_id = {customer:String} AND vm_id = {vm:String}) AS is_chosen
     FROM ${READING_REPORTS}
     WHERE customer_id = {customer:String} AND vm_id = {vm:String}
       AND window_start IN arrayMap(at -> fromUnixTimestamp64Nano(toInt64(at), 'UTC'), {instants:Array(String)})
     ORDER BY window_start, is_chosen DESC, precedence DESC, value_hash
     LIMIT 1 BY window_start, value_hash LIMIT {limit:UInt32}`,
    { customer: customerId, vm: vmId, instants: instants.map(String), limit: READINGS_MAX },
    signal,
  );
  return rows.map((row) => parseReport({ customerId, vmId }, row));
}
