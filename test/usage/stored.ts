import { createHash, randomUUID } from 'node:crypto';
import type { ClickHouseClient } from '@clickhouse/client';
import { QUANTITY_COLUMNS, type AcceptedWindow, type Quantities, quantitiesOf } from '../../src/usage/window.ts';

/** A report as a test stores it. `receipt` orders reports of one key: the smallest came first. */
export interface Report extends AcceptedWindow {
  readonly receipt: bigint;
}

export const MINUTE = 60_000_000_000n;
export const HOUR = 60n * MINUTE;
/** 2026-03-01T00:00:00Z */
export const BASE = BigInt(Date.UTC(2026, 2, 1)) * 1_000_000n;
const PRECEDENCE_MAX = 2n ** 63n - 1n;

/** A minute's window of vm-1 in region eu from minute `minute` after `BASE`, with what a test wants to be different. */
export function report(customerId: string, minute: number, changes: Partial<Report> = {}): Report {
  const startNanos = BASE + BigInt(minute) * MINUTE;
  const values = quantitiesOf((field) => BigInt(Object.keys(QUANTITY_COLUMNS).indexOf(field) + 1));
  return {
    customerId,
    vmId: 'vm-1',
    region: 'eu',
    startNanos,
    endNanos: startNanos + MINUTE,
    ...values,
    receipt: 0n,
    ...changes,
  };
}

/** Same values, same hash: the region and the eight quantities. */
export function valueHash(values: Quantities & { readonly region: string }): bigint {
  const text = [values.region, ...Object.values(quantitiesOf((field) => values[field]))].join('|');
  return createHash('sha256').update(text).digest().readBigUInt64LE();
}

/** Inserts the reports as one part per month and touches their hours, the way the ingest writer does. */
export async function store(clickhouse: ClickHouseClient, reports: readonly Report[]): Promise<void> {
  await storeWindows(clickhouse, reports);
  await touch(clickhouse, reports);
}

export async function storeWindows(clickhouse: ClickHouseClient, reports: readonly Report[]): Promise<void> {
  await clickhouse.insert({ table: 'windows', values: reports.map(toRow), format: 'JSONEachRow' });
}

/** Decides that a report counts; of decisions about a window the one with the greatest `decided` holds. */
export async function choose(clickhouse: ClickHouseClient, chosen: Report, decided: bigint): Promise<void> {
  const resolution = {
    customer_id: chosen.customerId,
    vm_id: chosen.vmId,
    window_start: seconds(chosen.startNanos),
    window_end: seconds(chosen.endNanos),
    value_hash: String(valueHash(chosen)),
    resolved_by: 'key-1',
    resolved_at: seconds(BASE + decided),
    reason: 'the test says so',
  };
  await clickhouse.insert({ table: 'conflict_resolutions', values: [resolution], format: 'JSONEachRow' });
}

export async function touch(clickhouse: ClickHouseClient, reports: readonly Report[]): Promise<void> {
  const drainId = randomUUID();
  const pairs = new Map<string, object>();
  for (const { customerId, startNanos, endNanos } of reports) {
    for (let start = startNanos - (startNanos % HOUR); start < endNanos; start += HOUR) {
      const hour = Number(start / 1_000_000_000n);
      pairs.set(`${customerId} ${hour}`, { drain_id: drainId, customer_id: customerId, hour });
    }
  }
  await clickhouse.insert({ table: 'touched_hours', values: [...pairs.values()], format: 'JSONEachRow' });
}

function toRow(window: Report): Record<string, string | number> {
  const quantities: Record<string, string> = {};
  for (const [field, value] of Object.entries(quantitiesOf((each) => window[each]))) {
    quantities[columnOf(field)] = String(value);
  }
  return {
    customer_id: window.customerId,
    vm_id: window.vmId,
    window_start: seconds(window.startNanos),
    window_end: seconds(window.endNanos),
    value_hash: String(valueHash(window)),
    region: window.region,
    sampled_at: seconds(window.endNanos),
    ...quantities,
    memory_bytes_used: '7',
    memory_bytes_peak: '8',
    cpu_utilization_pct: 12.5,
    cpu_cores_used: 0.5,
    boot_id: 'boot-1',
    instance_id: 'metald-1',
    sequence: '3',
    credential_id: 'key-1',
    precedence: String(PRECEDENCE_MAX - (BASE + window.receipt)),
  };
}

function columnOf(field: string): string {
  const column = Object.entries(QUANTITY_COLUMNS).find(([name]) => name === field)?.[1];
  if (!column) throw new Error(`${field} is no quantity`);
  return column;
}

function seconds(nanos: bigint): string {
  return `${nanos / 1_000_000_000n}.${String(nanos % 1_000_000_000n).padStart(9, '0')}`;
}
