import { type Arbitrary, array, bigInt, constantFrom, oneof, record, tuple } from 'fast-check';
import { BASE, HOUR, MINUTE, type Report, report } from './stored.ts';

const HOURS = 4n;
const SECOND = 1_000_000_000n;

/** Any quantity that a window can carry, the extremes often. */
const quantity = oneof(
  bigInt({ min: 0n, max: 1_000_000n }),
  constantFrom(0n, 1n, 2n ** 63n, 2n ** 64n - 1n),
  bigInt({ min: 0n, max: 2n ** 64n - 1n }),
);

/** Few starts and lengths, so that keys collide, windows overlap and meet, and edges of hours are crossed often. */
const bounds = tuple(
  oneof(
    bigInt({ min: 0n, max: (HOURS * HOUR) / (10n * MINUTE) }).map((n) => n * 10n * MINUTE - MINUTE),
    bigInt({ min: 0n, max: HOURS * HOUR }),
  ),
  oneof(constantFrom(MINUTE, 2n * MINUTE, 10n * MINUTE, HOUR), bigInt({ min: 1n, max: 20n * SECOND })),
).map(([start, length]) => ({ startNanos: BASE + HOUR + start, endNanos: BASE + HOUR + start + length }));

/** Reports of two VMs in two regions over five hours, with duplicates and conflicts. */
export const anyReports: Arbitrary<Omit<Report, 'customerId'>[]> = array(
  record({
    vmId: constantFrom('vm-1', 'vm-2'),
    region: constantFrom('eu', 'eu', 'us'),
    bounds,
    cpuTimeNanos: quantity,
    memoryByteSeconds: quantity,
    diskReadBytes: quantity,
    diskWriteBytes: quantity,
    diskReadOps: quantity,
    diskWriteOps: quantity,
    networkRxBytes: quantity,
    networkTxBytes: quantity,
    receipt: bigInt({ min: 0n, max: 3n }),
    again: constantFrom('no', 'no', 'no', 'copy', 'later copy', 'conflict', 'tie'),
  }),
  { minLength: 1, maxLength: 12 },
).map((items) =>
  items.flatMap(({ bounds: { startNanos, endNanos }, again, ...rest }) => {
    const one = { ...rest, startNanos, endNanos };
    if (again === 'no') return [one];
    if (again === 'copy') return [one, one];
    const receipt = again === 'tie' ? one.receipt : one.receipt + 1n;
    if (again === 'later copy') return [one, { ...one, receipt }];
    return [one, { ...one, receipt, cpuTimeNanos: one.cpuTimeNanos ^ 1n }];
  }),
);

/** What is between the windows of one hour is below two minutes together. */
const lengths = oneof(
  record({
    offset: bigInt({ min: 0n, max: HOUR }),
    items: array(
      record({
        length: oneof(constantFrom(MINUTE, 10n * MINUTE, HOUR), bigInt({ min: 1n, max: HOUR })),
        pause: constantFrom(0n, 0n, 1n, 15n * SECOND),
        cpuTimeNanos: quantity,
      }),
      { minLength: 1, maxLength: 8 },
    ),
  }),
  record({
    offset: bigInt({ min: 0n, max: 59n }).map((minutes) => minutes * MINUTE),
    items: array(
      record({ length: constantFrom(MINUTE, 2n * MINUTE), pause: constantFrom(0n), cpuTimeNanos: quantity }),
      { minLength: 1, maxLength: 20 },
    ),
  }),
);

/** Reports of one VM: windows one after the other and over edges of hours, without an overlap or a gap; of any length, or whole minutes. */
export const regularReports: Arbitrary<Omit<Report, 'customerId'>[]> = lengths.map(({ offset, items }) => {
  let startNanos = BASE + HOUR + offset;
  return items.map(({ length, pause, cpuTimeNanos }) => {
    const { customerId: _, ...one } = report('', 0, { startNanos, endNanos: startNanos + length, cpuTimeNanos });
    startNanos += length + pause;
    return one;
  });
});
