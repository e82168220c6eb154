import type { Fraction } from '../money.ts';

/** What was used in one region over some time: sums over windows, in the units that the names say. */
export interface RegionUsage {
  readonly region: string;
  readonly cpuTimeNanos: bigint;
  readonly memoryByteSeconds: bigint;
  readonly diskReadBytes: bigint;
  readonly diskWriteBytes: bigint;
  readonly networkRxBytes: bigint;
  readonly networkTxBytes: bigint;
  /** Time covered by windows. */
  readonly observedNanos: bigint;
}

/** What can have a price. */
export type MeterId = 'cpu' | 'memory' | 'disk_io' | 'network';

/** How a priced unit comes from what is measured. */
export interface Meter {
  readonly id: MeterId;
  /** For the invoice. */
  readonly description: string;
  readonly unit: string;
  /** How much was measured, in small units. */
  readonly measured: (usage: RegionUsage) => bigint;
  /** How many small units make one priced unit. */
  readonly perUnit: bigint;
}

const HOUR_SECONDS = 3600n;
const SECOND_NANOS = 1_000_000_000n;
const GB_BYTES = 1_000_000_000n;

/** Every meter, in the order of an invoice's lines. */
export const METERS: readonly Meter[] = [
  {
    id: 'cpu',
    description: 'CPU',
    unit: 'core-hour',
    measured: (usage) => usage.cpuTimeNanos,
    perUnit: HOUR_SECONDS * SECOND_NANOS,
  },
  {
    id: 'memory',
    description: 'Memory',
    unit: 'GB-hour',
    measured: (usage) => usage.memoryByteSeconds,
    perUnit: GB_BYTES * HOUR_SECONDS,
  },
  {
    id: 'disk_io',
    description: 'Disk I/O',
    unit: 'GB',
    measured: (usage) => usage.diskReadBytes + usage.diskWriteBytes,
    perUnit: GB_BYTES,
  },
  {
    id: 'network',
    description: 'Network',
    unit: 'GB',
    measured: (usage) => usage.networkRxBytes + usage.networkTxBytes,
    perUnit: GB_BYTES,
  },
];

/** Divided here and nowhere before. */
export function inPricedUnits(meter: Meter, measured: bigint): Fraction {
  return { numerator: measured, denominator: meter.perUnit };
}
