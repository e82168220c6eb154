import type { ClickHouseClient } from '@clickhouse/client';
import { CallerFault } from '../lib/failure.ts';
import { withHoles } from './coverage.ts';
import { type QueryParameters, select } from './select.ts';
import { computedWay, lastHeartbeat, silences } from './silent-time.ts';
import { mayTellOf } from './lifecycle.ts';
import { touchedHoursOf } from './touched-hours.ts';
import { usageRows } from './usage-rows.ts';
import { checkFilter, inValues } from './value-bytes.ts';
import { type TimeRange, wholeHours } from './whole-hours.ts';
import { type MeasuredUsage, QUANTITY_COLUMNS, quantitiesOf } from './window.ts';

/** Over two minutes in which a VM ran and no window was reported. */
export interface Gap extends TimeRange {
  readonly vmId: string;
  readonly region: string;
  /** How it is known that the VM ran. */
  readonly evidence: 'windows' | 'lifecycle' | 'heartbeat' | 'host';
  /** What plans that fill gaps would fill in; `undefined` where none may. */
  readonly filled: { readonly interpolated: MeasuredUsage; readonly carried: MeasuredUsage } | undefined;
}

export interface GapFilter extends TimeRange {
  readonly customerId: string;
  /** Only these, where any are named; at most 1,000. */
  readonly vmIds: readonly string[];
}

/** Where a page ended. */
export type GapKey = Pick<Gap, 'startNanos' | 'vmId'>;

const VMS_MAX = 1_000;

interface GapRow {
  readonly vm_id: string;
  readonly started: string;
  readonly ended: string;
  readonly in_region: string;
  readonly is_tail: number;
}

/**
 * By start and VM, those behind `after` only. A gap is seen as far as its VM's windows and notices lie in the range; one behind
 * all of them as far as heartbeats name the VM, of the last day of the range that there are any of. What could be filled in is
 * known from the rollup on.
 * @param filter the range is on whole hours of UTC and at most 400 days long
 * @throws CallerFault where the range or the VMs are out of their bounds; what ClickHouse reports; the signal's reason
 */
export async function listGaps(
  clickhouse: ClickHouseClient,
  filter: GapFilter,
  page: { readonly after: GapKey | undefined; readonly limit: number },
  signal: AbortSignal,
): Promise<Gap[]> {
  const { customerId, vmIds } = filter;
  if (customerId === '') throw new CallerFault('invalid_argument', 'customer_id', 'customer_id is empty');
  checkFilter('vm_ids', vmIds, VMS_MAX);
  const range = wholeHours(filter);
  const touched = await touchedHoursOf(clickhouse, customerId, range, signal);
  const scope = { customerId, range, regions: [], vmIds, touched };
  const rows = usageRows(scope, await computedWay(clickhouse, scope, signal));
  const lastBeat = await lastHeartbeat(clickhouse, range, signal);
  const tails = lastBeat === undefined ? '' : `UNION ALL SELECT *, 1 AS is_tail FROM (${silences(rows.sql)})`;
  const found = await select<GapRow>(
    clickhouse,
    `SELECT * FROM (${foundGaps(rows.sql)} ${tails})
     ${page.after === undefined ? '' : 'WHERE (started, vm_id) > ({after_start:Int64}, {after_vm:String})'}
     ORDER BY started, vm_id LIMIT {limit:UInt32}`,
    {
      ...rows.parameters,
      last_beat: lastBeat ?? '0',
      limit: page.limit,
      after_start: String(page.after?.startNanos ?? 0n),
      after_vm: page.after?.vmId ?? '',
    },
    signal,
  );
  const gaps: Gap[] = [];
  for (const some of inValues(found, (row) => row.vm_id, VMS_MAX)) {
    gaps.push(...(await withEvidence(clickhouse, customerId, some, signal)));
  }
  return gaps;
}

function foundGaps(rows: string): string {
  return `SELECT gap.2 AS vm_id, gap.1 AS started, gap.3 AS ended, toString(region) AS in_region, 0 AS is_tail
    FROM (${withHoles(rows)}) ARRAY JOIN found_gaps AS gap`;
}

async function withEvidence(
  clickhouse: ClickHouseClient,
  customerId: string,
  rows: readonly GapRow[],
  signal: AbortSignal,
): Promise<Gap[]> {
  const starts = rows.map((row) => BigInt(row.started));
  const ends = rows.map((row) => BigInt(row.ended));
  const parameters = {
    customer: customerId,
    vms: [...new Set(rows.map((row) => row.vm_id))],
    first: String(starts.reduce((a, b) => (a < b ? a : b))),
    last: String(ends.reduce((a, b) => (a > b ? a : b))),
  };
  const [filled, notices] = await Promise.all([
    filledOf(clickhouse, parameters, signal),
    noticesOf(clickhouse, parameters, signal),
  ]);
  return rows.map((row) => {
    const [startNanos, endNanos] = [BigInt(row.started), BigInt(row.ended)];
    const own = notices.get(row.vm_id) ?? [];
    const isTold = own.some(
      (each) => each.is_gap === 1 && BigInt(each.at_nanos) < endNanos && BigInt(each.until_nanos) > startNanos,
    );
    const isBounded = own.some((each) => each.is_gap === 0 && [startNanos, endNanos].includes(BigInt(each.at_nanos)));
    const evidence = row.is_tail === 1 ? 'heartbeat' : isTold ? 'host' : isBounded ? 'lifecycle' : 'windows';
    const ofGap = filled.get(`${row.vm_id} ${row.started} ${row.ended}`);
    return { vmId: row.vm_id, region: row.in_region, startNanos, endNanos, evidence, filled: ofGap };
  });
}

async function filledOf(clickhouse: ClickHouseClient, parameters: QueryParameters, signal: AbortSignal) {
  const sums = (['interpolated', 'carried'] as const).flatMap((way) =>
    Object.values(QUANTITY_COLUMNS).map((column) => `toString(sum(${way}_${column})) AS ${way}_${column}_sum`),
  );
  const rows = await select<Record<string, string>>(
    clickhouse,
    `SELECT vm_id, toString(reinterpretAsInt64(gap_start)) AS started, toString(reinterpretAsInt64(gap_end)) AS ended,
       ${sums.join(', ')}
     FROM usage_estimates FINAL WHERE customer_id = {customer:String} AND vm_id IN {vms:Array(String)}
       AND hour >= toStartOfHour(fromUnixTimestamp64Nano({first:Int64}, 'UTC')) AND hour <= fromUnixTimestamp64Nano({last:Int64}, 'UTC')
     GROUP BY vm_id, started, ended`,
    parameters,
    signal,
  );
  const usage = (row: Record<string, string>, way: string): MeasuredUsage => ({
    ...quantitiesOf((field) => BigInt(row[`${way}_${QUANTITY_COLUMNS[field]}_sum`] ?? 'missing')),
    observedNanos: BigInt(row['ended'] ?? 'missing') - BigInt(row['started'] ?? 'missing'),
  });
  return new Map(
    rows.map((row) => [
      `${row['vm_id']} ${row['started']} ${row['ended']}`,
      { interpolated: usage(row, 'interpolated'), carried: usage(row, 'carried') },
    ]),
  );
}

interface NoticeRow {
  readonly vm_id: string;
  readonly is_gap: number;
  readonly at_nanos: string;
  readonly until_nanos: string;
}

/** Notices that name no customer are taken for the VM's, where their key may tell of it: they only say how a gap is known. */
async function noticesOf(clickhouse: ClickHouseClient, parameters: QueryParameters, signal: AbortSignal) {
  const rows = await select<NoticeRow>(
    clickhouse,
    `SELECT DISTINCT vm_id, kind = 'possible_gap' AS is_gap, toString(reinterpretAsInt64(vm_events.at)) AS at_nanos,
       toString(reinterpretAsInt64(vm_events.until)) AS until_nanos
     FROM vm_events WHERE vm_id IN {vms:Array(String)} AND (customer_id = '' AND ${mayTellOf('{customer:String}')} OR customer_id = {customer:String})
       AND vm_events.at <= fromUnixTimestamp64Nano({last:Int64}, 'UTC') AND vm_events.until >= fromUnixTimestamp64Nano({first:Int64}, 'UTC')`,
    parameters,
    signal,
  );
  return Map.groupBy(rows, (row) => row.vm_id);
}
