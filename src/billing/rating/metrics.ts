import type { Fraction } from '../money.ts';
import type { MeasuredUsage, Metric } from './plan-content.ts';

const HOUR_SECONDS = 3600n;
const SECOND_NANOS = 1_000_000_000n;
const GB_BYTES = 1_000_000_000n;
const GIB_BYTES = 2n ** 30n;

/** The metrics that come with meterd. Their ids stay as they are: invoices and plans name them. */
export const METRICS: readonly Metric[] = [
  builtIn('cpu', 'CPU', 'core-hour', ['cpuTimeNanos'], HOUR_SECONDS * SECOND_NANOS),
  builtIn('memory', 'Memory', 'GB-hour', ['memoryByteSeconds'], GB_BYTES * HOUR_SECONDS),
  builtIn('memory_gib', 'Memory', 'GiB-hour', ['memoryByteSeconds'], GIB_BYTES * HOUR_SECONDS),
  builtIn('disk_io', 'Disk I/O', 'GB', ['diskReadBytes', 'diskWriteBytes'], GB_BYTES),
  builtIn('disk_read', 'Disk reads', 'GB', ['diskReadBytes'], GB_BYTES),
  builtIn('disk_write', 'Disk writes', 'GB', ['diskWriteBytes'], GB_BYTES),
  builtIn('network', 'Network', 'GB', ['networkRxBytes', 'networkTxBytes'], GB_BYTES),
  builtIn('network_rx', 'Network in', 'GB', ['networkRxBytes'], GB_BYTES),
  builtIn('network_tx', 'Network out', 'GB', ['networkTxBytes'], GB_BYTES),
  builtIn('disk_ops', 'Disk operations', 'operation', ['diskReadOps', 'diskWriteOps'], 1n),
  builtIn('disk_read_ops', 'Disk read operations', 'operation', ['diskReadOps'], 1n),
  builtIn('disk_write_ops', 'Disk write operations', 'operation', ['diskWriteOps'], 1n),
  builtIn('vm', 'VM time', 'VM-hour', ['observedNanos'], HOUR_SECONDS * SECOND_NANOS),
];

/**
 * The weighted sum of what was measured, in small units: `perUnit` of them make one priced unit.
 * @throws Error where a quantity is below 0, which no sum of windows can be
 */
export function measured(metric: Metric, usage: MeasuredUsage): bigint {
  let sum = 0n;
  for (const { quantity, weight } of metric.terms) {
    const value = usage[quantity];
    if (value < 0n) throw new Error(`${metric.id}: ${quantity} of ${value} is below 0`);
    sum += value * weight;
  }
  return sum;
}

/** Divided here and nowhere before. */
export function inPricedUnits(metric: Metric, small: bigint): Fraction {
  return { numerator: small, denominator: metric.perUnit };
}

function builtIn(
  id: string,
  description: string,
  unit: string,
  quantities: readonly (keyof MeasuredUsage)[],
  perUnit: bigint,
): Metric {
  return { id, description, unit, terms: quantities.map((quantity) => ({ quantity, weight: 1n })), perUnit };
}
