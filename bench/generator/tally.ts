import type { Reading } from './fleet.ts';

/** The quantities whose totals must be equal to the last digit. */
export const QUANTITIES = [
  'cpuTimeNanos',
  'memoryByteSeconds',
  'diskReadBytes',
  'diskWriteBytes',
  'diskReadOps',
  'diskWriteOps',
  'networkRxBytes',
  'networkTxBytes',
] as const satisfies readonly (keyof Reading)[];

/** Their columns in `windows` and `usage_hours`, in the same order. */
export const QUANTITY_COLUMNS = QUANTITIES.map((quantity) =>
  quantity.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
);

/** Windows and summed quantities, the latter in the order of `QUANTITIES`. */
export interface Sums {
  windows: bigint;
  readonly quantities: bigint[];
}

/** Exact totals by customer. */
export type Tally = Map<string, Sums>;

export function addReading(tally: Tally, customerId: string, reading: Reading): void {
  const sums = sumsOf(tally, customerId);
  sums.windows++;
  QUANTITIES.forEach((quantity, index) => {
    sums.quantities[index] = (sums.quantities[index] ?? 0n) + BigInt(reading[quantity]);
  });
}

export function addTally(tally: Tally, other: Tally): void {
  for (const [customerId, more] of other) {
    const sums = sumsOf(tally, customerId);
    sums.windows += more.windows;
    for (let i = 0; i < QUANTITIES.length; i++) {
      sums.quantities[i] = (sums.quantities[i] ?? 0n) + (more.quantities[i] ?? 0n);
    }
  }
}

/** What differs, in words; empty where the two are equal to the last digit. */
export function differences(expected: Tally, found: Tally): string[] {
  const customerIds = new Set([...expected.keys(), ...found.keys()]);
  return [...customerIds].toSorted().flatMap((customerId) => {
    const wanted = expected.get(customerId) ?? emptySums();
    const got = found.get(customerId) ?? emptySums();
    const windows = wanted.windows === got.windows ? [] : [`windows ${wanted.windows} sent, ${got.windows} stored`];
    const sums = QUANTITIES.flatMap((quantity, i) => {
      const same = wanted.quantities[i] === got.quantities[i];
      return same ? [] : [`${quantity} ${wanted.quantities[i]} sent, ${got.quantities[i]} stored`];
    });
    return [...windows, ...sums].map((text) => `${customerId}: ${text}`);
  });
}

function sumsOf(tally: Tally, customerId: string): Sums {
  let sums = tally.get(customerId);
  if (sums === undefined) tally.set(customerId, (sums = emptySums()));
  return sums;
}

function emptySums(): Sums {
  return { windows: 0n, quantities: QUANTITIES.map(() => 0n) };
}
