/** What a window measures and what is billed. Deltas over the window, each below 2^64 in one window; sums can pass that. */
export interface Quantities {
  readonly cpuTimeNanos: bigint;
  readonly memoryByteSeconds: bigint;
  readonly diskReadBytes: bigint;
  readonly diskWriteBytes: bigint;
  readonly diskReadOps: bigint;
  readonly diskWriteOps: bigint;
  readonly networkRxBytes: bigint;
  readonly networkTxBytes: bigint;
}

/** Sums over windows. */
export interface UsageQuantities extends Quantities {
  /** Time covered by windows. */
  readonly observedNanos: bigint;
  readonly windows: bigint;
}

/** What of usage is billed: all but the count of windows. */
export type MeasuredUsage = Omit<UsageQuantities, 'windows'>;

/** A window that was acknowledged. Times are Unix nanoseconds, `[startNanos, endNanos)`. */
export interface AcceptedWindow extends Quantities {
  readonly customerId: string;
  readonly vmId: string;
  readonly region: string;
  readonly startNanos: bigint;
  readonly endNanos: bigint;
}

/** The eight quantities: our name, and the column in `windows` and `usage_hours`. */
export const QUANTITY_COLUMNS = {
  cpuTimeNanos: 'cpu_time_nanos',
  memoryByteSeconds: 'memory_byte_seconds',
  diskReadBytes: 'disk_read_bytes',
  diskWriteBytes: 'disk_write_bytes',
  diskReadOps: 'disk_read_ops',
  diskWriteOps: 'disk_write_ops',
  networkRxBytes: 'network_rx_bytes',
  networkTxBytes: 'network_tx_bytes',
} as const satisfies Record<keyof Quantities, string>;

/** Builds `Quantities` field by field. */
export function quantitiesOf(valueOf: (field: keyof Quantities) => bigint): Quantities {
  return {
    cpuTimeNanos: valueOf('cpuTimeNanos'),
    memoryByteSeconds: valueOf('memoryByteSeconds'),
    diskReadBytes: valueOf('diskReadBytes'),
    diskWriteBytes: valueOf('diskWriteBytes'),
    diskReadOps: valueOf('diskReadOps'),
    diskWriteOps: valueOf('diskWriteOps'),
    networkRxBytes: valueOf('networkRxBytes'),
    networkTxBytes: valueOf('networkTxBytes'),
  };
}
