import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { customerUsage } from '../../src/usage/customer-usage.ts';
import { rollUp } from '../../src/usage/rollup.ts';
import type { UsageSpan } from '../../src/usage/span-usage.ts';
import { touchMovedBoots } from '../../src/usage/moved-boots.ts';
import { select } from '../../src/usage/select.ts';
import { touchHours } from '../../src/usage/touched-hours.ts';
import { UsageForBilling } from '../../src/usage/usage-for-billing.ts';
import { clickHouseForTest } from '../database.ts';
import { meanwhile } from './meanwhile.ts';
import { minute, type Reading, reading, storeNotices, storeReadings, touchAround } from './readings.ts';
import { BASE, HOUR, MINUTE, report, store } from './stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();
const billing = new UsageForBilling(client);
const LIFETIME = 10n ** 18n;
const run = (clickhouse = client) => rollUp({ clickhouse, clock: systemClock, signal });
/** In the statement that looks which hours to compute. */
const NEXT_HOURS = 'GROUP BY customer_id, touched_hours.hour';

function usageNow(customerId: string) {
  const request = { customerId, startNanos: BASE, endNanos: BASE + 4n * HOUR, groupBy: ['hour'] as const };
  return customerUsage(client, { ...request, regions: [], vmIds: [], pageSize: 0, pageToken: '' }, signal);
}

/** What is billed of CPU and of time, the same before the rollup, after it, and from raw readings. */
async function billed(customerId: string, readings: readonly Reading[]): Promise<readonly [bigint, bigint]> {
  await storeReadings(client, readings);
  const instants = readings.map((one) => one.atNanos);
  await touchAround(client, customerId, instants);
  const before = await usageNow(customerId);
  await run();
  expect(await usageNow(customerId)).toEqual(before);
  // Cut inside an hour too, as where a plan changes.
  const cut = BASE + HOUR + HOUR / 2n;
  const skip = { gapPolicy: 'skip', gapSecondsMax: 600 } as const;
  const spans: UsageSpan[] = [
    { startNanos: BASE, endNanos: cut, ...skip },
    { startNanos: cut, endNanos: BASE + 4n * HOUR, ...skip },
  ];
  const [usage = []] = await billing.readUsage([{ customerId, spans }], signal);
  expect(await billing.recomputeUsage({ customerId, spans }, signal)).toEqual({ usage, missingFrom: undefined });
  const sums = usage.flat().map(({ observed }) => observed);
  const cpu = sums.reduce((sum, each) => sum + each.cpuTimeNanos, 0n);
  const observed = sums.reduce((sum, each) => sum + each.observedNanos, 0n);
  expect([before.total.cpuTimeNanos, before.total.observedNanos]).toEqual([cpu, observed]);
  return [cpu, observed / MINUTE];
}

const some = (
  customerId: string,
  values: readonly (readonly [at: number, cpu: bigint, changes?: Partial<Reading>])[],
) => values.map(([at, cpu, changes]) => reading(customerId, at, cpu, changes));
const boot2 = { bootId: 'boot-2' };
const counters = 'delta';

it.each<[trap: string, Parameters<typeof some>[1], cpu: bigint, minutes: bigint]>([
  ['1: a first reading is a baseline', [[50, LIFETIME]], 0n, 0n],
  [
    '1: and differences count, over the edge of an hour too',
    [
      [59, LIFETIME],
      [62, LIFETIME + 7n],
    ],
    7n,
    3n,
  ],
  [
    '2: zeros between two good readings re-bill nothing',
    [
      [1, LIFETIME],
      [2, 0n],
      [3, LIFETIME + 4n],
    ],
    4n,
    2n,
  ],
  [
    '2: a lower reading in the same boot neither',
    [
      [1, LIFETIME],
      [2, 5n],
      [3, LIFETIME + 4n],
    ],
    4n,
    2n,
  ],
  [
    '3: a new boot counts from zero',
    [
      [1, LIFETIME],
      [2, 5n, boot2],
      [3, 9n, boot2],
    ],
    9n,
    2n,
  ],
  [
    '4: deltas are deltas',
    [
      [1, LIFETIME, { counters }],
      [2, 5n, { counters }],
      [3, 5n, { counters }],
    ],
    10n,
    2n,
  ],
  [
    '5: nothing over more than an hour',
    [
      [0, LIFETIME],
      [60.1, LIFETIME + 9n],
      [61.1, LIFETIME + 10n],
    ],
    1n,
    1n,
  ],
  [
    '7: an hour is still counted',
    [
      [0, LIFETIME],
      [60, LIFETIME + 9n],
      [61, LIFETIME + 10n],
    ],
    10n,
    61n,
  ],
  [
    '8: of one instant the first',
    [
      [1, LIFETIME],
      [2, LIFETIME + 1n],
      [2, LIFETIME + 90n, { receipt: 1n }],
    ],
    1n,
    1n,
  ],
])('trap %s', async (_, values, cpu, minutes) => {
  const customerId = randomUUID();
  expect(await billed(customerId, some(customerId, values))).toEqual([cpu, minutes]);
});

it.each([
  ['in one hour', 302, 305],
  ['across the edge of an hour', 298, 302],
])('3: a first reading of a boot that comes hours late takes what counted from zero %s', async (_, last, first) => {
  const customerId = randomUUID();
  const values: Parameters<typeof some>[1] = [
    [last - 2, LIFETIME],
    [last, LIFETIME + 1n],
    [first, 40n, boot2],
    [first + 1, 42n, boot2],
  ];
  const from = BASE + 5n * HOUR;
  const minutesOf = BigInt(first - last);
  const span = [{ startNanos: BASE, endNanos: BASE + 6n * HOUR, gapPolicy: 'skip', gapSecondsMax: 600 }] as const;
  const stored = async () => {
    await run();
    const [usage = []] = await billing.readUsage([{ customerId, spans: span }], signal);
    expect(await billing.recomputeUsage({ customerId, spans: span }, signal)).toEqual({
      usage,
      missingFrom: undefined,
    });
    return usage.flat().map(({ observed }) => [observed.cpuTimeNanos, observed.observedNanos / MINUTE]);
  };
  await storeReadings(client, some(customerId, values));
  await touchAround(client, customerId, [from, BASE + 4n * HOUR]);
  expect(await stored()).toEqual([[1n + 40n + 2n, 2n + minutesOf + 1n]]);
  await storeReadings(client, some(customerId, [[60, 30n, boot2]]));
  await touchAround(client, customerId, [minute(60), minute(120)]);
  expect(await stored()).toEqual([[1n + 2n, 3n]]);
});

it('3: a first reading of a boot that comes hours late, while the rollup begins, is heeded like any other', async () => {
  const customerId = randomUUID();
  await storeReadings(
    client,
    some(customerId, [
      [298, LIFETIME],
      [300, LIFETIME + 1n],
      [302, 40n, boot2],
      [303, 42n, boot2],
    ]),
  );
  await touchAround(client, customerId, [minute(300)]);
  await run();
  await touchAround(client, customerId, [minute(600)]);
  const comes = async () => {
    await storeReadings(client, some(customerId, [[60, 30n, boot2]]));
    await touchAround(client, customerId, [minute(60), minute(120)]);
  };
  await run(meanwhile(client, NEXT_HOURS, comes));
  const span = { startNanos: BASE, endNanos: BASE + 9n * HOUR, gapPolicy: 'skip', gapSecondsMax: 600 } as const;
  const [[usage] = []] = await billing.readUsage([{ customerId, spans: [span] }], signal);
  expect(usage?.map(({ observed }) => observed.cpuTimeNanos)).toEqual([1n + 2n]);
});

it('3: hours of a late reading that is no first one of its boot are computed, and none behind them', async () => {
  const customerId = randomUUID();
  const hourly = Array.from({ length: 9 }, (_, hour) => [hour * 60 + 5, LIFETIME + BigInt(hour)] as const);
  await storeReadings(client, some(customerId, hourly));
  await touchAround(client, customerId, [minute(0), minute(180), minute(360), minute(540)]);
  await run();
  await storeReadings(client, some(customerId, [[130, LIFETIME + 2n]]));
  await touchAround(client, customerId, [minute(130)]);
  expect(await run()).toMatchObject({ hours: 3 });
  expect(await run()).toMatchObject({ hours: 0 });
});

it('3: late first readings of very many VMs are looked through in parts, none of them twice', async () => {
  const customerId = randomUUID();
  const vms = Array.from({ length: 4 }, (_, index) => `vm-${index}`);
  const hourOf = (at: number) => Number(minute(at) / 1_000_000_000n / 3600n) * 3600;
  const readings = vms.flatMap((vmId, index) => [
    reading(customerId, 60, 30n, { vmId, ...boot2 }),
    reading(customerId, 305 + index * 180, 40n, { vmId, ...boot2 }),
  ]);
  await storeReadings(client, readings);
  const touched = [{ customerId, hour: hourOf(60) }];
  await touchHours(client, customerId, [hourOf(60)], signal);
  expect(await touchMovedBoots(client, touched, signal, 400)).toBe(true);
  const rows = await select<{ hour: number; times: string }>(
    client,
    `SELECT toUnixTimestamp(touched_hours.hour) AS hour, count() AS times FROM touched_hours
     WHERE customer_id = {customer:String} GROUP BY hour ORDER BY hour`,
    { customer: customerId },
    signal,
  );
  const moved = vms.flatMap((_, index) => [hourOf(245 + index * 180), hourOf(305 + index * 180)]);
  expect(rows).toEqual([hourOf(60), ...moved].map((hour) => ({ hour, times: '1' })));
});

it('6: a reading that comes late goes between the others and changes no sum', async () => {
  const customerId = randomUUID();
  const ends = some(customerId, [
    [30, LIFETIME],
    [80, LIFETIME + 50n],
  ]);
  expect(await billed(customerId, ends)).toEqual([50n, 50n]);
  expect(await billed(customerId, some(customerId, [[60, LIFETIME + 20n]]))).toEqual([50n, 50n]);
  expect((await usageNow(customerId)).groups.map((group) => group.quantities.cpuTimeNanos)).toEqual([20n, 30n]);
});

it('counts reported windows and derived ones of a customer together', async () => {
  const customerId = randomUUID();
  await store(client, [report(customerId, 10, { vmId: 'vm-2', cpuTimeNanos: 100n })]);
  expect(
    await billed(
      customerId,
      some(customerId, [
        [1, LIFETIME],
        [2, LIFETIME + 4n],
      ]),
    ),
  ).toEqual([104n, 2n]);
});

it('7: expects nothing between a stop and a start, and tells gaps and time without windows otherwise', async () => {
  const [told, untold] = [randomUUID(), randomUUID()];
  const windows = (customerId: string) => [0, 1, 30, 31, 70].map((at) => report(customerId, at, { vmId: customerId }));
  await store(client, [...windows(told), ...windows(untold)]);
  await storeNotices(client, [
    { vmId: told, kind: 'stopped', atNanos: minute(5), customerId: '' },
    { vmId: told, kind: 'started', atNanos: minute(27), customerId: told },
    { vmId: told, kind: 'stopped', atNanos: minute(33), customerId: '' },
    { vmId: told, kind: 'started', atNanos: minute(65), customerId: told },
    { vmId: told, kind: 'stopped', atNanos: minute(75), customerId: '' },
  ]);
  const shown = async (customerId: string) => {
    const { completeness, gaps } = await usageNow(customerId);
    const minutes = gaps.map(({ startNanos, endNanos }) =>
      [startNanos, endNanos].map((at) => Number((at - BASE) / MINUTE)),
    );
    return { expected: completeness.expectedNanos / MINUTE, gaps: minutes, counted: Number(completeness.gaps) };
  };
  const ofTold = {
    expected: 5n + 6n + 10n,
    gaps: [
      [2, 5],
      [27, 30],
      [65, 70],
      [71, 75],
    ],
    counted: 4,
  };
  const ofUntold = {
    expected: 71n,
    gaps: [
      [2, 30],
      [32, 70],
    ],
    counted: 2,
  };
  expect(await shown(told)).toEqual(ofTold);
  expect(await shown(untold)).toEqual(ofUntold);
  await run();
  expect(await shown(told)).toEqual(ofTold);
  expect(await shown(untold)).toEqual(ofUntold);
});

it('7: expects nothing behind a stop or before a start in another hour, where the other notice is missing', async () => {
  const [stopped, started] = [randomUUID(), randomUUID()];
  const windows = (customerId: string) => [50, 130].map((at) => report(customerId, at, { vmId: customerId }));
  await store(client, [...windows(stopped), ...windows(started)]);
  await storeNotices(client, [
    { vmId: stopped, kind: 'stopped', atNanos: minute(54), customerId: '' },
    { vmId: started, kind: 'started', atNanos: minute(125), customerId: started },
  ]);
  const shown = async (customerId: string) => {
    const { completeness, gaps } = await usageNow(customerId);
    const minutes = gaps.map(({ startNanos, endNanos }) =>
      [startNanos, endNanos].map((at) => Number((at - BASE) / MINUTE)),
    );
    return { expected: completeness.expectedNanos / MINUTE, gaps: minutes };
  };
  const expected = [
    { expected: 2n + 3n, gaps: [[51, 54]] },
    { expected: 2n + 5n, gaps: [[125, 130]] },
  ];
  expect([await shown(stopped), await shown(started)]).toEqual(expected);
  await run();
  expect([await shown(stopped), await shown(started)]).toEqual(expected);
});

it.each([
  ['before anything of its VM was rolled up', undefined],
  ['while the rollup begins', NEXT_HOURS],
])('7: a stop that names the VM alone is heeded where it comes %s', async (_, during) => {
  const customerId = randomUUID();
  const vmId = `vm-${customerId}`;
  const comes = async () => {
    await storeNotices(client, [{ vmId, kind: 'stopped', atNanos: minute(61), customerId: '' }]);
    await touchHours(client, '', [Number(minute(60) / 1_000_000_000n)], signal);
  };
  await store(
    client,
    [50, 125].map((at) => report(customerId, at, { vmId })),
  );
  if (during === undefined) await comes();
  await run(during === undefined ? client : meanwhile(client, during, comes));
  const { completeness, gaps } = await usageNow(customerId);
  expect(gaps).toEqual([{ vmId, startNanos: minute(51), endNanos: minute(61) }]);
  expect(completeness.expectedNanos).toBe(1n * MINUTE + 10n * MINUTE + 1n * MINUTE);
  const left = `SELECT hour FROM touched_hours WHERE customer_id IN ('', '${customerId}')`;
  expect(await select(client, left, {}, signal)).toEqual([]);
});

it('7: a stop that names the VM alone is of nobody who used the VM only later, whichever hours are computed together', async () => {
  const customerId = randomUUID();
  const vmId = `vm-${customerId}`;
  const [told, later] = [30 * 60 + 5, 60 * 60];
  await storeNotices(client, [{ vmId, kind: 'stopped', atNanos: minute(told), customerId: '' }]);
  await store(
    client,
    [0, later].map((at) => report(customerId, at, { vmId })),
  );
  await touchHours(client, '', [Number(minute(30 * 60) / 1_000_000_000n)], signal);
  await run();
  const span = { startNanos: BASE, endNanos: BASE + 72n * HOUR, gapPolicy: 'skip', gapSecondsMax: 600 } as const;
  const [usage] = await billing.readUsage([{ customerId, spans: [span] }], signal);
  expect(await billing.recomputeUsage({ customerId, spans: [span] }, signal)).toEqual({
    usage,
    missingFrom: undefined,
  });
});
