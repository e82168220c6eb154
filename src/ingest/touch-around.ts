import type { TouchedHours } from './record.ts';
import type { TimeBounds } from './validate.ts';

const SECOND_NANOS = 1_000_000_000n;
const HOUR_SECONDS = 3600n;
const HOUR_NANOS = HOUR_SECONDS * SECOND_NANOS;

/**
 * Touches what a reading or an event changes: windows are derived from readings at most an hour apart, so one at an instant
 * changes those between the hour before and the hour after it. Nothing can have been read that is further ahead than the
 * bounds allow.
 * @param customerId empty where it is not known whose the VM is: the rollup then looks for it
 */
export function touchAround(
  touched: TouchedHours,
  customerId: string,
  fromNanos: bigint,
  toNanos: bigint,
  { nowNanos, aheadNanosMax }: TimeBounds,
): void {
  const latestNanos = nowNanos + aheadNanosMax;
  const untilNanos = toNanos + HOUR_NANOS;
  const lastNanos = untilNanos > latestNanos && latestNanos > toNanos ? latestNanos : untilNanos;
  const first = (fromNanos - HOUR_NANOS) / HOUR_NANOS;
  for (let hour = first; hour <= lastNanos / HOUR_NANOS; hour++) touched.add(customerId, Number(hour * HOUR_SECONDS));
}
