import type { BillingMetrics } from '../../gen/billing/v1/metrics_pb.ts';
import { CallerFault } from '../lib/failure.ts';
import { parseCustomerId, parseId } from '../lib/identifier.ts';
import type { Sender, Window } from './window.ts';

const SECOND_NANOS = 1_000_000_000n;
const DAY_NANOS = 86_400n * SECOND_NANOS;
/** 2000-01-01T00:00:00Z. Whatever claims to be older is a clock that was never set. */
const EARLIEST_NANOS = 946_684_800n * SECOND_NANOS;
/** 2200-01-01T00:00:00Z: Unix nanoseconds in 64 bits end in 2262. */
const LATEST_NANOS = 7_258_118_400n * SECOND_NANOS;
/** A window reaches into two hours at most, which the rollup and its queries rely on. */
const WINDOW_NANOS_MAX = 3600n * SECOND_NANOS;
export const REGION_BYTES_MAX = 64;
/** A window ends up to an hour behind its start; a reading has the hour before it computed, with readings an hour before that. */
const REACH_NANOS = 2n * WINDOW_NANOS_MAX;

/** How far from now a window may lie. */
export interface TimeBounds {
  readonly nowNanos: bigint;
  /** Without the right to backfill. */
  readonly lateDaysMax: number;
  /** How long windows are kept. */
  readonly rawDays: number;
  readonly aheadNanosMax: bigint;
}

/**
 * Narrows a reported window to one that can be stored.
 * @throws CallerFault naming the field, its value and the bound
 */
export function parseWindow(metrics: BillingMetrics, sender: Sender, bounds: TimeBounds): Window {
  const vmId = parseId('vm_id', metrics.vmId);
  const customerId = parseCustomerId('customer_id', metrics.customerId);
  const region = parseId('region', metrics.region, REGION_BYTES_MAX);
  const startNanos = parseTime('window_start', metrics.windowStart);
  const endNanos = parseTime('window_end', metrics.windowEnd);
  checkLength(startNanos, endNanos);
  checkAllowed(customerId, region, sender);
  checkTimeliness('window_end', endNanos, sender, bounds);
  return {
    customerId,
    vmId,
    startNanos,
    endNanos,
    region,
    cpuTimeNanos: metrics.cpuTimeNanos,
    cpuUtilizationPct: parseGauge('cpu_utilization_pct', metrics.cpuUtilizationPct),
    cpuCoresUsed: parseGauge('cpu_cores_used', metrics.cpuCoresUsed),
    memoryBytesUsed: metrics.memoryBytesUsed,
    memoryBytesPeak: metrics.memoryBytesPeak,
    memoryByteSeconds: metrics.memoryBytesSeconds,
    diskReadBytes: metrics.diskReadBytes,
    diskWriteBytes: metrics.diskWriteBytes,
    diskReadOps: metrics.diskReadOps,
    diskWriteOps: metrics.diskWriteOps,
    networkRxBytes: metrics.networkRxBytes,
    networkTxBytes: metrics.networkTxBytes,
    sampledAtNanos: metrics.timestamp === undefined ? endNanos : parseTime('timestamp', metrics.timestamp),
    bootId: metrics.bootId === '' ? '' : parseId('boot_id', metrics.bootId),
  };
}

/** Whether a window is so old that only the right to backfill lets it in. */
export function isLate(endNanos: bigint, bounds: TimeBounds): boolean {
  return endNanos < bounds.nowNanos - BigInt(bounds.lateDaysMax) * DAY_NANOS;
}

/**
 * @returns Unix nanoseconds
 * @throws CallerFault invalid_argument where it is missing, no time, or not within the years 2000 to 2200
 */
export function parseTime(field: string, value: { seconds: bigint; nanos: number } | undefined): bigint {
  if (value === undefined) throw new CallerFault('invalid_argument', field, `${field} is missing`);
  if (value.nanos < 0 || value.nanos > 999_999_999) {
    const message = `${field}.nanos: ${value.nanos} is not within 0 and 999999999`;
    throw new CallerFault('invalid_argument', field, message);
  }
  return parseNanos(field, value.seconds * SECOND_NANOS + BigInt(value.nanos));
}

/** The same for a time that comes as Unix nanoseconds. */
export function parseNanos(field: string, nanos: bigint): bigint {
  if (nanos < EARLIEST_NANOS) {
    throw new CallerFault('invalid_argument', field, `${field}: ${showTime(nanos)} is before 2000-01-01T00:00:00Z`);
  }
  if (nanos > LATEST_NANOS) {
    throw new CallerFault('invalid_argument', field, `${field}: ${showTime(nanos)} is after 2200-01-01T00:00:00Z`);
  }
  return nanos;
}

function checkLength(startNanos: bigint, endNanos: bigint): void {
  if (endNanos <= startNanos) {
    const message = `window_end: ${showTime(endNanos)} is not after window_start ${showTime(startNanos)}`;
    throw new CallerFault('invalid_argument', 'window_end', message);
  }
  if (endNanos - startNanos > WINDOW_NANOS_MAX) {
    const seconds = (endNanos - startNanos) / SECOND_NANOS;
    const message = `window_end: the window lasts ${seconds} s, more than ${WINDOW_NANOS_MAX / SECOND_NANOS} s`;
    throw new CallerFault('invalid_argument', 'window_end', message);
  }
}

/** @throws CallerFault permission_denied where the sender's key is not for this customer or region */
export function checkAllowed(customerId: string, region: string, sender: Sender): void {
  if (sender.regions !== undefined && !sender.regions.has(region)) {
    const message = `region: "${region}" is not one that key ${sender.credentialId} reports for (${list(sender.regions)})`;
    throw new CallerFault('permission_denied', 'region', message);
  }
  if (sender.customerIds !== undefined && !sender.customerIds.has(customerId)) {
    const message = `customer_id: "${customerId}" is not one that key ${sender.credentialId} reports for`;
    throw new CallerFault('permission_denied', 'customer_id', message);
  }
}

/**
 * @throws CallerFault out_of_range where a time is too far ahead, too long ago for a sender without the right to backfill, or so
 *   long ago that windows of then are removed
 */
export function checkTimeliness(field: string, nanos: bigint, sender: Sender, bounds: TimeBounds): void {
  if (nanos > bounds.nowNanos + bounds.aheadNanosMax) {
    const message = `${field}: ${showTime(nanos)} is more than ${bounds.aheadNanosMax / SECOND_NANOS} s ahead of the server's clock, ${showTime(bounds.nowNanos)}`;
    throw new CallerFault('out_of_range', field, message);
  }
  if (!sender.backfill && isLate(nanos, bounds)) {
    const message = `${field}: ${showTime(nanos)} is more than ${bounds.lateDaysMax} days ago, and key ${sender.credentialId} has no right to backfill`;
    throw new CallerFault('out_of_range', field, message);
  }
  const keptNanos = bounds.nowNanos - BigInt(bounds.rawDays) * DAY_NANOS + REACH_NANOS;
  if (nanos < keptNanos) {
    const message = `${field}: ${showTime(nanos)} is before ${showTime(keptNanos)}: windows are kept for ${bounds.rawDays} days, and its hour could not be computed from all of them`;
    throw new CallerFault('out_of_range', field, message);
  }
}

function parseGauge(field: string, value: number): number {
  if (!Number.isFinite(value) || value < 0) {
    throw new CallerFault('invalid_argument', field, `${field}: ${value} is not a finite number of at least 0`);
  }
  // Minus zero has other bits than zero, and equal windows must hash alike.
  return value === 0 ? 0 : value;
}

function showTime(nanos: bigint): string {
  const milliseconds = Number(nanos / 1_000_000n);
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime()) ? `${nanos} ns since 1970` : date.toISOString();
}

function list(values: ReadonlySet<string>): string {
  return [...values].slice(0, 10).join(', ');
}
