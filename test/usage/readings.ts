import { createHash, randomUUID } from 'node:crypto';
import type { ClickHouseClient } from '@clickhouse/client';
import { dateTime64 } from '../../src/storage/clickhouse/date-time.ts';
import { type Quantities, quantitiesOf } from '../../src/usage/window.ts';
import { BASE, HOUR, MINUTE } from './stored.ts';

/** The counters of a reading; `memoryByteSeconds` is a total where the boot has a name, and means nothing elsewhere. */
export interface Reading extends Quantities {
  readonly customerId: string;
  readonly vmId: string;
  readonly region: string;
  readonly atNanos: bigint;
  readonly counters: 'delta' | 'cumulative';
  readonly bootId: string;
  readonly memoryBytesUsed: bigint;
  /** Of several readings of one instant the smallest came first. */
  readonly receipt: bigint;
}

/** A start or stop notice. */
export interface Notice {
  readonly vmId: string;
  readonly kind: 'started' | 'stopped' | 'possible_gap';
  readonly atNanos: bigint;
  /** Empty where the host does not name it. */
  readonly customerId: string;
  readonly untilNanos?: bigint;
  readonly region?: string;
  /** That told of it. */
  readonly keyId?: string;
}

const NOTHING = quantitiesOf(() => 0n);

/** A reading of vm-1 in boot-1, `atMinute` minutes after `BASE`, whose CPU counter is `cpuTimeNanos`, and nothing else used. */
export function reading(
  customerId: string,
  atMinute: number,
  cpuTimeNanos: bigint,
  changes: Partial<Reading> = {},
): Reading {
  return {
    ...NOTHING,
    customerId,
    vmId: 'vm-1',
    region: 'eu',
    atNanos: BASE + BigInt(Math.round(atMinute * 60)) * 1_000_000_000n,
    counters: 'cumulative',
    bootId: 'boot-1',
    memoryBytesUsed: 0n,
    receipt: 0n,
    cpuTimeNanos,
    ...changes,
  };
}

export async function storeReadings(clickhouse: ClickHouseClient, readings: readonly Reading[]): Promise<void> {
  await clickhouse.insert({ table: 'counter_samples', values: readings.map(toRow), format: 'JSONEachRow' });
}

export async function storeNotices(clickhouse: ClickHouseClient, notices: readonly Notice[]): Promise<void> {
  const values = notices.map(
    ({ vmId, kind, atNanos, customerId, untilNanos = atNanos, region = 'eu', keyId = 'key-1' }) => ({
      vm_id: vmId,
      at: dateTime64(atNanos),
      kind,
      customer_id: customerId,
      region,
      until: dateTime64(untilNanos),
      instance_id: 'metald-1',
      credential_id: keyId,
      precedence: '1',
    }),
  );
  await clickhouse.insert({ table: 'vm_events', values, format: 'JSONEachRow' });
}

/** Decides that these readings count. */
export async function chooseReadings(clickhouse: ClickHouseClient, chosen: readonly Reading[]): Promise<void> {
  const values = chosen.map((one) => ({
    customer_id: one.customerId,
    vm_id: one.vmId,
    window_start: dateTime64(one.atNanos),
    window_end: dateTime64(one.atNanos),
    value_hash: String(valueHash(one)),
    resolved_by: 'key-1',
    resolved_at: dateTime64(BASE),
    reason: 'the test says so',
  }));
  await clickhouse.insert({ table: 'conflict_resolutions', values, format: 'JSONEachRow' });
}

/** Has the hours from an hour before the first of these instants to an hour after the last computed. */
export async function touchAround(
  clickhouse: ClickHouseClient,
  customerId: string,
  instants: readonly bigint[],
): Promise<void> {
  const hours = new Set(instants.flatMap((at) => [at - HOUR, at, at + HOUR]).map((at) => (at / HOUR) * 3600n));
  const drainId = randomUUID();
  const values = [...hours].map((hour) => ({ drain_id: drainId, customer_id: customerId, hour: Number(hour) }));
  await clickhouse.insert({ table: 'touched_hours', values, format: 'JSONEachRow' });
}

/** Unix nanoseconds. */
export function minute(number: number): bigint {
  return BASE + BigInt(number) * MINUTE;
}

function toRow(one: Reading): Record<string, string> {
  return {
    customer_id: one.customerId,
    vm_id: one.vmId,
    sampled_at: dateTime64(one.atNanos),
    value_hash: String(valueHash(one)),
    counters: one.counters,
    boot_id: one.bootId,
    region: one.region,
    linked_to: '1970-01-01T00:00:00Z',
    cpu_time_nanos: String(one.cpuTimeNanos),
    memory_bytes_used: String(one.memoryBytesUsed),
    memory_byte_seconds: String(one.memoryByteSeconds),
    disk_read_bytes: String(one.diskReadBytes),
    disk_write_bytes: String(one.diskWriteBytes),
    disk_read_ops: String(one.diskReadOps),
    disk_write_ops: String(one.diskWriteOps),
    network_rx_bytes: String(one.networkRxBytes),
    network_tx_bytes: String(one.networkTxBytes),
    instance_id: 'metald-1',
    credential_id: 'key-1',
    precedence: String(2n ** 62n - one.receipt),
  };
}

/** Same values, same hash. */
export function valueHash(one: Reading): bigint {
  const values = Object.values(quantitiesOf((field) => one[field]));
  const text = [one.region, one.bootId, one.counters, one.memoryBytesUsed, ...values].join('|');
  return createHash('sha256').update(text).digest().readBigUInt64LE();
}
