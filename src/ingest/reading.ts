import type { VMMetrics } from '../../gen/billaged/v1/billing_pb.ts';
import type { BillingMetrics } from '../../gen/billing/v1/metrics_pb.ts';
import { CallerFault } from '../lib/failure.ts';
import { parseCustomerId, parseId } from '../lib/identifier.ts';
import type { EvidenceRow } from './evidence-rows.ts';
import { checkAllowed, checkTimeliness, parseTime, REGION_BYTES_MAX, type TimeBounds } from './validate.ts';
import { windowKernel } from './window-kernel.ts';
import { PRECEDENCE_MAX, type Provenance, type Sender } from './window.ts';

/** How counters count: totals since the VM's boot, or deltas since the reading before. The host says it; it is never guessed. */
export type CounterKind = 'delta' | 'cumulative';

/** What was read of a VM's counters at one instant. The key is (customer, VM, instant). */
export interface Reading {
  readonly customerId: string;
  readonly vmId: string;
  readonly region: string;
  /** Empty where the protocol has none: then start notices say when a VM was booted. */
  readonly bootId: string;
  readonly counters: CounterKind;
  readonly sampledAtNanos: bigint;
  readonly cpuTimeNanos: bigint;
  readonly memoryBytesUsed: bigint;
  /** A total like the others; 0 where the host does not measure it. */
  readonly memoryByteSeconds: bigint;
  readonly diskReadBytes: bigint;
  readonly diskWriteBytes: bigint;
  readonly diskReadOps: bigint;
  readonly diskWriteOps: bigint;
  readonly networkRxBytes: bigint;
  readonly networkTxBytes: bigint;
}

export type SampleRow = EvidenceRow<'counter_samples'>;

/** As the enum of `counter_samples` has them. */
const KIND_NUMBERS = { delta: 1, cumulative: 2 } as const satisfies Record<CounterKind, number>;

/**
 * A window of a batch of totals: what its counters were at `window_end`.
 * @throws CallerFault naming the field, its value and the bound
 */
export function parseTotals(metrics: BillingMetrics, sender: Sender, bounds: TimeBounds): Reading {
  const vmId = parseId('vm_id', metrics.vmId);
  const customerId = parseCustomerId('customer_id', metrics.customerId);
  const region = parseId('region', metrics.region, REGION_BYTES_MAX);
  const bootId = parseId('boot_id', metrics.bootId);
  const sampledAtNanos = parseTime('window_end', metrics.windowEnd);
  checkAllowed(customerId, region, sender);
  checkTimeliness('window_end', sampledAtNanos, sender, bounds);
  const { cpuTimeNanos, memoryBytesUsed, memoryBytesSeconds, diskReadBytes, diskWriteBytes } = metrics;
  const { diskReadOps, diskWriteOps, networkRxBytes, networkTxBytes } = metrics;
  return {
    customerId,
    vmId,
    region,
    bootId,
    counters: 'cumulative',
    sampledAtNanos,
    cpuTimeNanos,
    memoryBytesUsed,
    memoryByteSeconds: memoryBytesSeconds,
    diskReadBytes,
    diskWriteBytes,
    diskReadOps,
    diskWriteOps,
    networkRxBytes,
    networkTxBytes,
  };
}

/** Whose samples a batch of `billaged.v1` holds: what its message and the caller's key say. */
export interface SampledVm {
  readonly vmId: string;
  readonly customerId: string;
  readonly region: string;
  readonly counters: CounterKind;
}

/**
 * A sample of `billaged.v1`.
 * @throws CallerFault naming the field, its value and the bound
 */
export function parseSample(sample: VMMetrics, vm: SampledVm, sender: Sender, bounds: TimeBounds): Reading {
  const vmId = parseId('vm_id', vm.vmId);
  const customerId = parseCustomerId('customer_id', vm.customerId);
  const sampledAtNanos = parseTime('timestamp', sample.timestamp);
  checkAllowed(customerId, vm.region, sender);
  checkTimeliness('timestamp', sampledAtNanos, sender, bounds);
  return {
    vmId,
    customerId,
    region: vm.region,
    counters: vm.counters,
    bootId: '',
    sampledAtNanos,
    cpuTimeNanos: notNegative('cpu_time_nanos', sample.cpuTimeNanos),
    memoryBytesUsed: notNegative('memory_usage_bytes', sample.memoryUsageBytes),
    memoryByteSeconds: 0n,
    diskReadBytes: notNegative('disk_read_bytes', sample.diskReadBytes),
    diskWriteBytes: notNegative('disk_write_bytes', sample.diskWriteBytes),
    diskReadOps: 0n,
    diskWriteOps: 0n,
    networkRxBytes: notNegative('network_rx_bytes', sample.networkRxBytes),
    networkTxBytes: notNegative('network_tx_bytes', sample.networkTxBytes),
  };
}

/** A reading as a row of `counter_samples`. */
export function sampleRow(reading: Reading, provenance: Omit<Provenance, 'sequence'>): SampleRow {
  return {
    customer_id: reading.customerId,
    vm_id: reading.vmId,
    sampled_at: reading.sampledAtNanos,
    value_hash: hashOf(reading),
    counters: KIND_NUMBERS[reading.counters],
    boot_id: reading.bootId,
    region: reading.region,
    // Nothing is derived from the order within a batch, so none is noted.
    linked_to: 0n,
    cpu_time_nanos: reading.cpuTimeNanos,
    memory_bytes_used: reading.memoryBytesUsed,
    memory_byte_seconds: reading.memoryByteSeconds,
    disk_read_bytes: reading.diskReadBytes,
    disk_write_bytes: reading.diskWriteBytes,
    disk_read_ops: reading.diskReadOps,
    disk_write_ops: reading.diskWriteOps,
    network_rx_bytes: reading.networkRxBytes,
    network_tx_bytes: reading.networkTxBytes,
    instance_id: provenance.instanceId,
    credential_id: provenance.credentialId,
    precedence: PRECEDENCE_MAX - provenance.receivedAtNanos,
  };
}

/**
 * The hash of what a reading says: how its counters count, its values as they were sent, region and boot. It decides
 * whether two reports of one instant are the same, and it is part of the table's key: it must never change.
 */
function hashOf(reading: Reading): bigint {
  const values = [
    BigInt(KIND_NUMBERS[reading.counters]),
    reading.cpuTimeNanos,
    reading.memoryBytesUsed,
    reading.memoryByteSeconds,
    reading.diskReadBytes,
    reading.diskWriteBytes,
    reading.diskReadOps,
    reading.diskWriteOps,
    reading.networkRxBytes,
    reading.networkTxBytes,
  ];
  // Neither may hold a control character, so no two pairs are the same text.
  return windowKernel.hashOf(values, `${reading.region}\0${reading.bootId}`);
}

function notNegative(field: string, value: bigint): bigint {
  if (value >= 0n) return value;
  throw new CallerFault('invalid_argument', field, `${field}: ${value} is below 0`);
}
