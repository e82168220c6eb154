/** Unix nanoseconds, from 0, as JSON formats take a `DateTime64(9)`: seconds with nine decimals. */
export function dateTime64(nanos: bigint): string {
  return `${nanos / 1_000_000_000n}.${String(nanos % 1_000_000_000n).padStart(9, '0')}`;
}
