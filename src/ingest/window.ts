/**
 * One window that passed validation. Times are Unix nanoseconds, counters are deltas over `[startNanos, endNanos)`.
 * The key is (customer, VM, start, end); the values are the region and the measured figures.
 */
export interface Window {
  readonly customerId: string;
  readonly vmId: string;
  readonly startNanos: bigint;
  readonly endNanos: bigint;
  readonly region: string;
  readonly cpuTimeNanos: bigint;
  /** Informational, never billed. */
  readonly cpuUtilizationPct: number;
  /** Informational, never billed. */
  readonly cpuCoresUsed: number;
  readonly memoryBytesUsed: bigint;
  readonly memoryBytesPeak: bigint;
  readonly memoryByteSeconds: bigint;
  readonly diskReadBytes: bigint;
  readonly diskWriteBytes: bigint;
  readonly diskReadOps: bigint;
  readonly diskWriteOps: bigint;
  readonly networkRxBytes: bigint;
  readonly networkTxBytes: bigint;
  readonly sampledAtNanos: bigint;
  readonly bootId: string;
}

/** Who sends a batch, and what its credential lets it report. */
export interface Sender {
  readonly credentialId: string;
  /** Regions it may report for; `undefined` is any. */
  readonly regions: ReadonlySet<string> | undefined;
  /** Customers it may report for; `undefined` is any. */
  readonly customerIds: ReadonlySet<string> | undefined;
  /** Whether windows older than the late bound are taken. */
  readonly backfill: boolean;
}

/** What is kept of the call beside each window. */
export interface Provenance {
  readonly credentialId: string;
  readonly instanceId: string;
  readonly sequence: bigint;
  readonly receivedAtNanos: bigint;
}

/** `precedence` counts down from here, so that of equal copies the first received has the greatest. */
export const PRECEDENCE_MAX = 9_223_372_036_854_775_807n;
