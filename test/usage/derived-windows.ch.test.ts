import { randomUUID } from 'node:crypto';
import { array, assert, asyncProperty, bigInt, constantFrom, nat, oneof, record, tuple } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cellParameters } from '../../src/usage/cells.ts';
import { derivedWindows } from '../../src/usage/derived-windows.ts';
import { select } from '../../src/usage/select.ts';
import { QUANTITY_COLUMNS, quantitiesOf } from '../../src/usage/window.ts';
import { clickHouseForTest } from '../database.ts';
import { chooseReadings, type Notice, type Reading, reading, storeNotices, storeReadings } from './readings.ts';
import { keyOf, modelWindows } from './readings-model.ts';
import { BASE, HOUR, MINUTE } from './stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();
const HOURS = [0, 1, 2, 3, 4, 5].map((hour) => Number(BASE / 1_000_000_000n) + hour * 3600);
const SECOND = 1_000_000_000n;

/** Derived for the hours, as the model has them. */
async function derived(customerId: string, hours: readonly number[] = HOURS) {
  const rows = await select<Record<string, string>>(
    client,
    `SELECT *, toString(reinterpretAsInt64(window_start)) AS began, toString(reinterpretAsInt64(window_end)) AS ended
     FROM (${derivedWindows('true')})`,
    cellParameters({ customerIds: [customerId], hours }),
    signal,
  );
  const windows = rows.map((row) => ({
    customerId,
    vmId: row['vm_id'] ?? '',
    region: row['region'] ?? '',
    startNanos: BigInt(row['began'] ?? 'missing'),
    endNanos: BigInt(row['ended'] ?? 'missing'),
    ...quantitiesOf((field) => BigInt(row[QUANTITY_COLUMNS[field]] ?? 'missing')),
    conflict: Number(row['conflict']) === 1,
  }));
  return windows.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

/** Minutes after `BASE` from and to, and CPU nanoseconds, of each window. */
async function shown(customerId: string): Promise<(readonly [number, number, bigint])[]> {
  const minutes = (nanos: bigint) => Number(nanos - BASE) / Number(MINUTE);
  return (await derived(customerId)).map((one) => [minutes(one.startNanos), minutes(one.endNanos), one.cpuTimeNanos]);
}

/** A VM's time, as instants with what happens between and at them. */
const steps = array(
  record({
    pause: oneof(constantFrom(MINUTE, MINUTE, 59n * MINUTE, HOUR, HOUR + 1n), bigInt({ min: 1n, max: 90n * MINUTE })),
    used: oneof(constantFrom(0n, 1n), bigInt({ min: 0n, max: 10n * SECOND })),
    memory: constantFrom(0n, 4_096_000_001n),
    what: constantFrom(
      'reads',
      'reads',
      'reads',
      'reads',
      'fails',
      'falls',
      'boots',
      'is told to start',
      'boots unseen',
    ),
    resent: constantFrom('no', 'no', 'again', 'with other values', 'and decided for'),
  }),
  { minLength: 1, maxLength: 14 },
);

/** The readings and notices of a VM that lives through the steps, as a host of one of three kinds sends them. */
function historyOf(
  vm: { readonly customerId: string; readonly vmId: string; readonly kind: 'named boots' | 'totals' | 'deltas' },
  lived: readonly {
    readonly pause: bigint;
    readonly used: bigint;
    readonly memory: bigint;
    readonly what: string;
    readonly resent: string;
  }[],
): { readings: Reading[]; notices: Notice[]; chosen: Reading[] } {
  const { customerId, vmId, kind } = vm;
  const readings: Reading[] = [];
  const notices: Notice[] = [];
  const chosen: Reading[] = [];
  let [atNanos, boot, total] = [BASE, 1, 5_000n * SECOND];
  for (const { pause, used, memory, what, resent } of lived) {
    atNanos += pause;
    total += used;
    if (what === 'boots' || what === 'boots unseen') [boot, total] = [boot + 1, used];
    if (what === 'boots' || what === 'is told to start') {
      notices.push({ vmId, customerId, kind: 'started', atNanos: atNanos - pause / 2n });
    }
    const value = what === 'fails' ? 0n : what === 'falls' ? total / 3n : kind === 'deltas' ? used : total;
    const one = reading(customerId, 0, value, {
      vmId,
      atNanos,
      counters: kind === 'deltas' ? 'delta' : 'cumulative',
      bootId: kind === 'named boots' ? `boot-${boot}` : '',
      networkRxBytes: what === 'falls' ? total : value / 2n,
      memoryBytesUsed: what === 'fails' ? 0n : memory,
      memoryByteSeconds: kind === 'named boots' && boot % 2 === 1 ? value * 3n : 0n,
    });
    readings.push(one);
    if (resent === 'again') readings.push({ ...one, receipt: 1n });
    if (resent === 'with other values' || resent === 'and decided for') {
      const other = { ...one, cpuTimeNanos: value + 7n, receipt: 1n };
      readings.push(other);
      if (resent === 'and decided for') chosen.push(other);
    }
  }
  return { readings, notices, chosen };
}

const histories = tuple(steps, steps, steps);

describe('derived windows', () => {
  it('are what the model finds, in any order, with repetitions, and for whichever hours they are asked', async () => {
    await assert(
      asyncProperty(histories, array(nat(), { minLength: 60, maxLength: 60 }), async ([a, b, c], keys) => {
        const customerId = randomUUID();
        const lived = [
          historyOf({ customerId, vmId: 'vm-1', kind: 'named boots' }, a),
          historyOf({ customerId, vmId: 'vm-2', kind: 'totals' }, b),
          historyOf({ customerId, vmId: 'vm-3', kind: 'deltas' }, c),
        ];
        const readings = lived.flatMap((each) => each.readings);
        const notices = lived.flatMap((each) => each.notices);
        const chosen = lived.flatMap((each) => each.chosen);
        const expected = modelWindows(readings, notices, chosen);
        const shuffled = readings
          .map((one, index) => ({ one, key: keys[index % keys.length] ?? 0 }))
          .toSorted((x, y) => x.key - y.key)
          .map(({ one }) => one);
        if (notices.length > 0) await storeNotices(client, notices);
        if (chosen.length > 0) await chooseReadings(client, chosen);
        await storeReadings(client, shuffled.slice(0, shuffled.length / 2));
        await storeReadings(client, shuffled.slice(shuffled.length / 2));
        await storeReadings(client, shuffled.slice(0, shuffled.length / 3 + 1));
        const hours = Array.from({ length: 24 }, (_, hour) => (HOURS[0] ?? 0) + hour * 3600);
        const inHours = (of: readonly number[]) => (one: { startNanos: bigint; endNanos: bigint }) =>
          of.some((hour) => one.endNanos > BigInt(hour) * SECOND && one.startNanos < (BigInt(hour) + 3600n) * SECOND);
        expect(await derived(customerId, hours)).toEqual(expected.filter(inHours(hours)));
        for (const hour of hours.slice(1, 6)) {
          expect(await derived(customerId, [hour])).toEqual(expected.filter(inHours([hour])));
        }
      }),
      { numRuns: 8 },
    );
  });
});

/** CPU nanoseconds of a lifetime, which no window may ever have. */
const LIFETIME = 9_000_000n * SECOND;

describe('the traps of counters', () => {
  it('1: take the first reading of a VM as a baseline, and charge only differences within a boot', async () => {
    const customerId = randomUUID();
    await storeReadings(client, [reading(customerId, 0, LIFETIME), reading(customerId, 1, LIFETIME + 6n)]);
    expect(await shown(customerId)).toEqual([[0, 1, 6n]]);
  });

  it('2: span a reading of zeros, and one below the readings before it, with the difference of the others', async () => {
    const customerId = randomUUID();
    await storeReadings(client, [
      reading(customerId, 0, LIFETIME),
      reading(customerId, 1, 0n),
      reading(customerId, 2, LIFETIME + 10n),
      reading(customerId, 3, 17n),
      reading(customerId, 4, LIFETIME + 25n),
    ]);
    expect(await shown(customerId)).toEqual([
      [0, 2, 10n],
      [2, 4, 15n],
    ]);
  });

  it('3: count a new boot from zero, and one that was there before not', async () => {
    const customerId = randomUUID();
    await storeReadings(client, [
      reading(customerId, 0, LIFETIME),
      reading(customerId, 1, LIFETIME + 1n),
      reading(customerId, 2, 40n, { bootId: 'boot-2' }),
      reading(customerId, 3, 41n, { bootId: 'boot-2' }),
      // Long after, a host that still means the first boot.
      reading(customerId, 200, 50n, { bootId: 'boot-2' }),
      reading(customerId, 201, LIFETIME + 2n),
    ]);
    expect(await shown(customerId)).toEqual([
      [0, 1, 1n],
      [1, 2, 40n],
      [2, 3, 1n],
    ]);
  });

  it('3: take a start notice for a new boot where hosts have no name for boots, unless the counter goes on', async () => {
    const customerId = randomUUID();
    const bootId = '';
    await storeNotices(client, [
      { vmId: 'vm-1', kind: 'started', atNanos: BASE + 90n * SECOND, customerId },
      { vmId: 'vm-1', kind: 'started', atNanos: BASE + 210n * SECOND, customerId },
    ]);
    await storeReadings(client, [
      reading(customerId, 0, LIFETIME, { bootId }),
      reading(customerId, 1, LIFETIME + 1n, { bootId }),
      reading(customerId, 2, 40n, { bootId }),
      reading(customerId, 3, 41n, { bootId }),
      reading(customerId, 4, 45n, { bootId }),
    ]);
    expect(await shown(customerId)).toEqual([
      [0, 1, 1n],
      [1.5, 2, 40n],
      [2, 3, 1n],
      [3, 4, 4n],
    ]);
  });

  it('3: go on within two hours after a reset that nobody told of, and never charge the lifetime', async () => {
    const customerId = randomUUID();
    const after = Array.from({ length: 8 }, (_, index) =>
      reading(customerId, 61 + index * 20, BigInt(index) * 5n + 1n),
    );
    await storeReadings(client, [reading(customerId, 50, LIFETIME), reading(customerId, 60, LIFETIME + 3n), ...after]);
    expect(await shown(customerId)).toEqual([
      [50, 60, 3n],
      [181, 201, 5n],
    ]);
  });

  it('4: take deltas for what they are, each since the reading before, and the first for nothing', async () => {
    const customerId = randomUUID();
    const counters = 'delta';
    await storeReadings(client, [
      reading(customerId, 0, LIFETIME, { counters }),
      reading(customerId, 1, 7n, { counters }),
      reading(customerId, 2, 5n, { counters }),
    ]);
    expect(await shown(customerId)).toEqual([
      [0, 1, 7n],
      [1, 2, 5n],
    ]);
  });

  it('5: derive nothing over more than an hour without a reading', async () => {
    const customerId = randomUUID();
    const late = BASE + 120n * MINUTE + 1n;
    await storeReadings(client, [
      reading(customerId, 0, LIFETIME),
      reading(customerId, 60, LIFETIME + 1n),
      reading(customerId, 0, LIFETIME + 2n, { atNanos: late }),
      reading(customerId, 0, LIFETIME + 3n, { atNanos: late + 1n }),
    ]);
    expect((await shown(customerId)).map(([, , used]) => used)).toEqual([1n, 1n]);
  });

  it('8: count the first reading of an instant, whatever comes for it later', async () => {
    const customerId = randomUUID();
    const first = reading(customerId, 1, LIFETIME + 1n);
    await storeReadings(client, [reading(customerId, 0, LIFETIME), first]);
    await storeReadings(client, [first, { ...first, cpuTimeNanos: LIFETIME + 900n, receipt: 1n }]);
    expect(await shown(customerId)).toEqual([[0, 1, 1n]]);
  });

  it('take memory as the mean of both readings over the time between, or as the difference of totals', async () => {
    const customerId = randomUUID();
    await storeReadings(client, [
      reading(customerId, 0, 1n, { memoryBytesUsed: 1000n }),
      reading(customerId, 1, 2n, { memoryBytesUsed: 2001n }),
      reading(customerId, 0, 1n, { vmId: 'vm-2', memoryBytesUsed: 1000n, memoryByteSeconds: 50n }),
      reading(customerId, 1, 2n, { vmId: 'vm-2', memoryBytesUsed: 2001n, memoryByteSeconds: 57n }),
    ]);
    expect((await derived(customerId)).map((one) => one.memoryByteSeconds)).toEqual([90_030n, 7n]);
  });
});
