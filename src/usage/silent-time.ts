import type { ClickHouseClient } from '@clickhouse/client';
import { GAP_NANOS } from './cells.ts';
import { mayTellOf } from './lifecycle.ts';
import { HOUR_SECONDS, select } from './select.ts';
import { sourcesOf } from './sources.ts';
import { regionFilter, type TouchedWay, usageRows, type UsageScope } from './usage-rows.ts';
import type { HourRange } from './whole-hours.ts';

/** Heartbeats are many: of a range they are looked through for the last day that there are any of. */
const BACK_SECONDS = 24 * HOUR_SECONDS;

/** Time from the last signs of VMs to the last heartbeats that name them, where it is over two minutes. */
export interface SilentTime {
  readonly count: bigint;
  readonly nanos: bigint;
  /** The first `GAPS_MAX`, by start and VM; as `CoverageRow` has them. */
  readonly gaps: readonly (readonly [start: string, vmId: string, end: string])[];
}

const NONE: SilentTime = { count: 0n, nanos: 0n, gaps: [] };

/** When the last heartbeat of the range came, of any host, in Unix nanoseconds; `undefined` where there is none. */
export async function lastHeartbeat(
  clickhouse: ClickHouseClient,
  range: HourRange,
  signal: AbortSignal,
): Promise<string | undefined> {
  const [row] = await select<{ at: string }>(
    clickhouse,
    `SELECT toString(reinterpretAsInt64(received_at)) AS at FROM heartbeats
     WHERE received_at >= toDateTime64({from:Int64}, 9, 'UTC') AND received_at < toDateTime64({until:Int64}, 9, 'UTC')
     ORDER BY received_at DESC LIMIT 1`,
    { ...range },
    signal,
  );
  return row?.at;
}

/**
 * From each VM's last sign to the last heartbeat that names it, where it is over two minutes and the sign is no stop.
 * @param rows of `usageRows`; beside its parameters the statement has `last_beat`, of `lastHeartbeat`
 */
export function silences(rows: string): string {
  const beats = `SELECT vm_id, reinterpretAsInt64(max(received_at)) AS ended FROM heartbeats ARRAY JOIN vm_ids AS vm_id
    WHERE received_at >= greatest(subtractSeconds(${LAST_BEAT}, ${BACK_SECONDS}), toDateTime64({from:Int64}, 9, 'UTC'))
      AND received_at <= ${LAST_BEAT} AND ${mayTellOf('{customer:String}')} GROUP BY vm_id`;
  return `SELECT vm_id, silent.started AS started, beats.ended AS ended, silent.in_region AS in_region
    FROM (${silentVms(rows)}) AS silent JOIN (${beats}) AS beats USING (vm_id) WHERE ended - started > ${GAP_NANOS}`;
}

const LAST_BEAT = `fromUnixTimestamp64Nano({last_beat:Int64}, 'UTC')`;

/** VMs whose last sign is no stop and over two minutes before the last heartbeat. */
function silentVms(rows: string): string {
  return `SELECT vm_id, max(last) AS started, toString(argMax(region, last * 2 + (edges >= 2))) AS in_region
    FROM (${rows}) GROUP BY vm_id
    HAVING bitAnd(max(last * 2 + (edges >= 2)), 1) = 0 AND started < {last_beat:Int64} - ${GAP_NANOS}`;
}

/**
 * The silent time of the scope's VMs, in the regions that they were seen in last. Heartbeats are read only where a VM is silent.
 * @param gapsMax gaps that are named
 * @throws what ClickHouse reports; the signal's reason
 */
export async function silentTime(
  clickhouse: ClickHouseClient,
  scope: UsageScope,
  gapsMax: number,
  signal: AbortSignal,
): Promise<SilentTime> {
  const lastBeat = await lastHeartbeat(clickhouse, scope.range, signal);
  if (lastBeat === undefined) return NONE;
  const rows = usageRows(scope, await computedWay(clickhouse, scope, signal));
  const parameters = { ...rows.parameters, last_beat: lastBeat };
  const [silent] = await select(clickhouse, `SELECT 1 FROM (${silentVms(rows.sql)}) LIMIT 1`, parameters, signal);
  if (silent === undefined) return NONE;
  const [sums] = await select<{ gap_count: string; nanos: string; first_gaps: SilentTime['gaps'] }>(
    clickhouse,
    `SELECT count() AS gap_count, sum(ended - started) AS nanos,
       groupArraySorted(${gapsMax})((started, vm_id, ended)) AS first_gaps
     FROM (SELECT *, in_region AS region FROM (${silences(rows.sql)})) WHERE ${regionFilter(scope)}`,
    parameters,
    signal,
  );
  if (sums === undefined) throw new Error('the sums of silent time came back without their row');
  return { count: BigInt(sums.gap_count), nanos: BigInt(sums.nanos), gaps: sums.first_gaps };
}

/** How touched hours are computed where the quick way will not do: it knows no gaps and no notices. */
export async function computedWay(
  clickhouse: ClickHouseClient,
  { customerId, touched }: Pick<UsageScope, 'customerId' | 'touched'>,
  signal: AbortSignal,
): Promise<TouchedWay> {
  if (touched.length === 0) return 'quick';
  return sourcesOf(clickhouse, { customerIds: [customerId], hours: touched }, signal);
}
