import { type Quantities, quantitiesOf } from '../../src/usage/window.ts';
import { type Notice, type Reading, valueHash } from './readings.ts';
import { HOUR, type Report } from './stored.ts';

type Window = Omit<Report, 'receipt'> & {
  /** Whether it ends or begins at an instant of which readings are stored with different values, and nobody has chosen. */
  readonly conflict: boolean;
};

type Between = Omit<Window, 'conflict'> & { readonly from: Reading; readonly to: Reading };

const COUNTERS: readonly (keyof Quantities)[] = [
  'cpuTimeNanos',
  'memoryByteSeconds',
  'diskReadBytes',
  'diskWriteBytes',
  'diskReadOps',
  'diskWriteOps',
  'networkRxBytes',
  'networkTxBytes',
];

/** The windows between readings, one reading at a time, each looked up among all others. */
export function modelWindows(
  readings: readonly Reading[],
  notices: readonly Notice[],
  chosen: readonly Reading[],
): Window[] {
  const undecided = readings.filter((one) => !chosen.some((other) => isSameInstant(one, other)));
  const first = [...chosen, ...firstOfEachInstant(undecided)].filter((one) => !isAllZero(one));
  const good = first.filter((one) => !first.some((other) => isAbove(other, one, notices)));
  const isDoubted = (one: Reading) =>
    undecided.some((other) => isSameInstant(one, other) && valueHash(one) !== valueHash(other));
  const found = good.flatMap((one) => windowTo(one, good, readings, notices));
  return found
    .map(({ from, to, ...rest }) => ({ ...rest, conflict: isDoubted(from) || isDoubted(to) }))
    .toSorted((a, b) => order(keyOf(a), keyOf(b)));
}

function isSameInstant(a: Reading, b: Reading): boolean {
  return a.vmId === b.vmId && a.atNanos === b.atNanos;
}

export function keyOf({ customerId, vmId, startNanos, endNanos }: Omit<Window, 'conflict'>): string {
  return [customerId, vmId, startNanos, endNanos].join('|');
}

function firstOfEachInstant(readings: readonly Reading[]): Reading[] {
  const found = new Map<string, Reading>();
  for (const one of readings) {
    const key = `${one.vmId} ${one.atNanos}`;
    const known = found.get(key);
    const isEarlier =
      known === undefined ||
      one.receipt < known.receipt ||
      (one.receipt === known.receipt && valueHash(one) < valueHash(known));
    if (isEarlier) found.set(key, one);
  }
  return [...found.values()];
}

/** Whether another reading of the boot, in this hour or the one before, had more: then this one failed. */
function isAbove(other: Reading, one: Reading, notices: readonly Notice[]): boolean {
  if (one.counters === 'delta' || other.atNanos >= one.atNanos || other.atNanos / HOUR < one.atNanos / HOUR - 1n) {
    return false;
  }
  return isSameBoot(other, one, notices) && COUNTERS.some((counter) => total(other, counter) > total(one, counter));
}

function windowTo(
  one: Reading,
  good: readonly Reading[],
  all: readonly Reading[],
  notices: readonly Notice[],
): Between[] {
  const before = good.filter((other) => other.vmId === one.vmId && other.atNanos < one.atNanos);
  const last = latest(before, one);
  const own = latest(
    before.filter((other) => isSameBoot(other, one, notices)),
    one,
  );
  if (last === undefined) return [];
  if (one.counters === 'delta') return [window(one, last, last.atNanos, (counter) => one[counter])];
  if (own !== undefined) return [difference(one, own)];
  if (one.bootId !== '') {
    const wasThere = all.some((other) => isBootOf(other, one) && other.atNanos < one.atNanos && !isAllZero(other));
    return wasThere ? [] : [window(one, last, last.atNanos, (counter) => one[counter])];
  }
  if (!COUNTERS.some((counter) => total(last, counter) > total(one, counter))) return [difference(one, last)];
  const started = startOf(one, notices);
  return [window(one, last, started > last.atNanos ? started : last.atNanos, (counter) => one[counter])];
}

function isBootOf(other: Reading, one: Reading): boolean {
  return other.vmId === one.vmId && other.bootId === one.bootId;
}

function difference(one: Reading, from: Reading): Between {
  return window(one, from, from.atNanos, (counter) => one[counter] - from[counter]);
}

function window(
  one: Reading,
  from: Reading,
  startNanos: bigint,
  valueOf: (counter: keyof Quantities) => bigint,
): Between {
  const mean = ((one.memoryBytesUsed + from.memoryBytesUsed) * (one.atNanos - startNanos)) / 2_000_000_000n;
  const isFromZero = valueOf('memoryByteSeconds') === one.memoryByteSeconds && from.bootId !== one.bootId;
  const hasTotals =
    total(one, 'memoryByteSeconds') > 0n && (isFromZero || total(from, 'memoryByteSeconds') > 0n) && one.bootId !== '';
  return {
    customerId: one.customerId,
    vmId: one.vmId,
    region: one.region,
    startNanos,
    endNanos: one.atNanos,
    ...quantitiesOf(valueOf),
    memoryByteSeconds: hasTotals ? valueOf('memoryByteSeconds') : mean,
    from,
    to: one,
  };
}

/** The latest of these, if it is at most an hour before. */
function latest(readings: readonly Reading[], one: Reading): Reading | undefined {
  const found = readings.toSorted((a, b) => Number(b.atNanos - a.atNanos))[0];
  return found !== undefined && one.atNanos - found.atNanos <= HOUR ? found : undefined;
}

function isSameBoot(a: Reading, b: Reading, notices: readonly Notice[]): boolean {
  const same = a.vmId === b.vmId && a.counters === b.counters && a.bootId === b.bootId;
  return same && (a.bootId !== '' || startOf(a, notices) === startOf(b, notices));
}

/** The VM's last start notice at or before the reading; 0 where there is none. */
function startOf(one: Reading, notices: readonly Notice[]): bigint {
  return notices
    .filter(({ vmId, kind, atNanos }) => vmId === one.vmId && kind === 'started' && atNanos <= one.atNanos)
    .reduce((most, { atNanos }) => (atNanos > most ? atNanos : most), 0n);
}

function total(one: Reading, counter: keyof Quantities): bigint {
  const isTotal = one.counters === 'cumulative' && one.bootId !== '';
  return counter === 'memoryByteSeconds' && !isTotal ? 0n : one[counter];
}

function isAllZero(one: Reading): boolean {
  return one.memoryBytesUsed === 0n && COUNTERS.every((counter) => one[counter] === 0n);
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
