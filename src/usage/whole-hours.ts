import { CallerFault } from '../lib/failure.ts';
import { HOUR_NANOS } from './select.ts';

const DAYS_MAX = 400n;
/** Where ClickHouse's `DateTime` ends: 2106-02-07T06:00:00Z, its last whole hour. */
const END_NANOS_MAX = ((2n ** 32n * 1_000_000_000n) / HOUR_NANOS) * HOUR_NANOS;

/** A time range, `[startNanos, endNanos)` in Unix nanoseconds. */
export interface TimeRange {
  readonly startNanos: bigint;
  readonly endNanos: bigint;
}

/** The range in Unix seconds. */
export interface HourRange {
  readonly from: number;
  readonly until: number;
}

/** @throws CallerFault where a bound is not on a whole hour of UTC, or the range is empty or longer than 400 days */
export function wholeHours(range: TimeRange): HourRange {
  const { startNanos, endNanos } = range;
  for (const [field, nanos] of [
    ['start', startNanos],
    ['end', endNanos],
  ] as const) {
    if (nanos < 0n || nanos % HOUR_NANOS !== 0n) {
      throw new CallerFault(
        'invalid_argument',
        field,
        `${field} is ${nanos} ns since 1970, not on a whole hour of UTC`,
      );
    }
  }
  if (endNanos > END_NANOS_MAX) {
    throw new CallerFault('invalid_argument', 'end', `end is ${endNanos} ns since 1970, more than ${END_NANOS_MAX} ns`);
  }
  if (endNanos <= startNanos) {
    throw new CallerFault(
      'invalid_argument',
      'end',
      `end is ${endNanos} ns since 1970, not after start, ${startNanos} ns`,
    );
  }
  if (endNanos - startNanos > DAYS_MAX * 24n * HOUR_NANOS) {
    const days = (endNanos - startNanos) / (24n * HOUR_NANOS);
    throw new CallerFault('invalid_argument', 'end', `end is ${days} days after start, more than ${DAYS_MAX}`);
  }
  return { from: Number(startNanos / 1_000_000_000n), until: Number(endNanos / 1_000_000_000n) };
}
