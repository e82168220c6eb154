import type { TouchedHours } from './record.ts';
import type { TimeBounds } from './validate.ts';

const SECOND_NANOS = 1_000_000_000n;
const HOUR_SECONDS = 3600n;
const HOUR_NANOS = HOUR_SECONDS * SECOND_NANOS;

/** A reading that is higher than those behind it makes failed reads of them, up to an hour on, and their windows reach as far again. */
const AFTER_NANOS = 2n * HOUR_NANOS;

/**
 * Touches what a reading or an event changes: windows are derived from readings at most an hour apart, so one at an instant
 * changes those from the hour before it to two hours after it. Nothing can have been read that is further ahead than the
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
  const afterNanos = toNanos + AFTER_NANOS;
  const untilNanos = afterNanos < latestNanos ? afterNanos : latestNanos;
  for (let hour = (fromNanos - HOUR_NANOS) / HOUR_NANOS; hour <= untilNanos / HOUR_NANOS; hour++) {
    touched.add(customerId, Number(hour * HOUR_SECONDS));
  }
}
