import type { WindowShape } from './fleet.ts';
import { type Bytes, buildTemplate, type Places, PLACES, type Template, VM_ID, writeHost } from './template.ts';

/**
 * The columns of `windows` in the order that `rowTemplate` writes them. Written here once more, apart from the
 * service, so that the ceiling stays what it is however the service gets its rows there.
 */
export const ROW_COLUMNS = [
  'customer_id',
  'vm_id',
  'window_start',
  'window_end',
  'value_hash',
  'region',
  'cpu_time_nanos',
  'cpu_utilization_pct',
  'cpu_cores_used',
  'memory_bytes_used',
  'memory_bytes_peak',
  'memory_byte_seconds',
  'disk_read_bytes',
  'disk_write_bytes',
  'disk_read_ops',
  'disk_write_ops',
  'network_rx_bytes',
  'network_tx_bytes',
  'sampled_at',
  'boot_id',
  'instance_id',
  'sequence',
  'credential_id',
  'precedence',
] as const;

const CREDENTIAL_ID = '0198a5e2-7c1b-7f00-8000-000000000000';
const NANOS_PER_SECOND = 1_000_000_000n;

/** The batch's windows as ClickHouse `RowBinary`, without host and time. */
export function rowTemplate(shapes: readonly WindowShape[]): Template {
  let hash = 0x2545_f491;
  return buildTemplate(shapes, (bytes, shape) => {
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d) | 0;
    return writeRow(bytes, shape, hash >>> 0);
  });
}

/** As `fillRequest`, for rows. */
export function fillRows(
  template: Template,
  target: Buffer,
  use: { readonly host: number; readonly firstMinute: number },
): Buffer {
  const { bytes, places, minutes, sampledAfterNanos } = template;
  bytes.copy(target);
  writeHost(target, places, use.host);
  for (let window = 0; window < minutes.length; window++) {
    const start = BigInt((use.firstMinute + (minutes[window] ?? 0)) * 60) * NANOS_PER_SECOND;
    const end = start + 60n * NANOS_PER_SECOND;
    const at = window * PLACES;
    target.writeBigInt64LE(start, places[at + 1]);
    target.writeBigInt64LE(end, places[at + 2]);
    target.writeBigInt64LE(end + BigInt(sampledAfterNanos[window] ?? 0), places[at + 3]);
  }
  return target.subarray(0, bytes.length);
}

function writeRow(bytes: Bytes, { vm, reading }: WindowShape, hash: number): Places {
  bytes.ascii(vm.customerId);
  const hostAt = bytes.ascii(VM_ID.of(vm.suffix)) + VM_ID.hostAt;
  const startAt = bytes.skip(8);
  const endAt = bytes.skip(8);
  bytes.uint64(hash * 0x10_0001);
  bytes.ascii(vm.region);
  bytes.uint64(reading.cpuTimeNanos);
  bytes.double(reading.cpuUtilizationPct);
  bytes.double(reading.cpuCoresUsed);
  bytes.uint64(reading.memoryBytesUsed);
  bytes.uint64(reading.memoryBytesPeak);
  bytes.uint64(reading.memoryByteSeconds);
  bytes.uint64(reading.diskReadBytes);
  bytes.uint64(reading.diskWriteBytes);
  bytes.uint64(reading.diskReadOps);
  bytes.uint64(reading.diskWriteOps);
  bytes.uint64(reading.networkRxBytes);
  bytes.uint64(reading.networkTxBytes);
  const sampledAt = bytes.skip(8);
  bytes.ascii('');
  bytes.ascii('metald-000000');
  bytes.uint64(hash);
  bytes.ascii(CREDENTIAL_ID);
  bytes.uint64(7_430_000_000_000_000 + hash);
  return { hostAt, startAt, endAt, sampledAt };
}
