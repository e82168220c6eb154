import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { TimestampSchema } from '@bufbuild/protobuf/wkt';
import { create } from '@bufbuild/protobuf';
import { CallerFault } from '../lib/failure.ts';

const SECOND_NANOS = 1_000_000_000n;
/** Years 1 to 9999, which is all that a Timestamp may hold (google/protobuf/timestamp.proto). */
const SECONDS_MIN = -62_135_596_800n;
const SECONDS_MAX = 253_402_300_799n;

/** @throws CallerFault where the timestamp is missing or out of its bounds */
export function requireNanos(field: string, value: Timestamp | undefined): bigint {
  if (value === undefined) throw new CallerFault('invalid_argument', field, `${field} is missing`);
  if (value.seconds < SECONDS_MIN || value.seconds > SECONDS_MAX || value.nanos < 0 || value.nanos > 999_999_999) {
    const message = `${field}: ${value.seconds} s and ${value.nanos} ns is not a time between the years 1 and 9999`;
    throw new CallerFault('invalid_argument', field, message);
  }
  return value.seconds * SECOND_NANOS + BigInt(value.nanos);
}

/** @throws CallerFault where the timestamp is missing, out of its bounds, or finer than a millisecond */
export function requireDate(field: string, value: Timestamp | undefined): Date {
  const nanos = requireNanos(field, value);
  if (nanos % 1_000_000n !== 0n) {
    throw new CallerFault(
      'invalid_argument',
      field,
      `${field}: ${nanos % SECOND_NANOS} ns is finer than a millisecond`,
    );
  }
  return new Date(Number(nanos / 1_000_000n));
}

/** @returns `undefined` where it is left out @throws CallerFault as `requireDate` */
export function optionalDate(field: string, value: Timestamp | undefined): Date | undefined {
  return value === undefined ? undefined : requireDate(field, value);
}

/** Unix nanoseconds → Timestamp. */
export function toTimestamp(nanos: bigint): Timestamp {
  const rest = ((nanos % SECOND_NANOS) + SECOND_NANOS) % SECOND_NANOS;
  return create(TimestampSchema, { seconds: (nanos - rest) / SECOND_NANOS, nanos: Number(rest) });
}

/** @returns the page's size, `fallback` where none is asked for @throws CallerFault above `max` */
export function pageSize(requested: number, fallback: number, max: number): number {
  if (requested > max) {
    throw new CallerFault('invalid_argument', 'page_size', `page_size: ${requested} is more than ${max}`);
  }
  return requested === 0 ? fallback : requested;
}
