import { randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rollUp } from '../../src/usage/rollup.ts';
import type { UsageSpan } from '../../src/usage/span-usage.ts';
import { UsageForBilling } from '../../src/usage/usage-for-billing.ts';
import { type MeasuredUsage, quantitiesOf } from '../../src/usage/window.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { clickHouseForTest } from '../database.ts';
import { BASE, HOUR, MINUTE, report, store } from './stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();
const billing = new UsageForBilling(client);
const SECOND = 1_000_000_000n;

function span(startNanos: bigint, endNanos: bigint): UsageSpan {
  return { startNanos, endNanos, gapPolicy: 'skip', gapSecondsMax: 600 };
}

const run = () => rollUp({ clickhouse: client, clock: systemClock, signal });

function plus(a: MeasuredUsage, b: MeasuredUsage): MeasuredUsage {
  return { ...quantitiesOf((field) => a[field] + b[field]), observedNanos: a.observedNanos + b.observedNanos };
}

const NOTHING: MeasuredUsage = { ...quantitiesOf(() => 0n), observedNanos: 0n };

describe('readUsage', () => {
  it('adds up to the whole wherever a span is cut, in rolled-up hours and from raw windows alike', async () => {
    const customerId = randomUUID();
    const other = randomUUID();
    const reports = [0, 1, 2, 14, 15, 59, 60, 61, 119, 150].flatMap((minute, i) => [
      report(customerId, minute, {
        cpuTimeNanos: 7_000_000_001n + BigInt(i),
        endNanos: BASE + BigInt(minute) * MINUTE + 90n * SECOND + 7n,
      }),
      report(customerId, minute, {
        vmId: 'vm-2',
        region: minute % 2 === 0 ? 'us' : 'eu',
        networkTxBytes: 1n + BigInt(i),
      }),
      report(other, minute),
    ]);
    await store(client, reports);
    await run();
    const end = BASE + 4n * HOUR;
    const cuts = fc.uniqueArray(fc.nat(4 * 3600 - 1), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(cuts, async (seconds) => {
        const at = [
          BASE,
          ...seconds
            .toSorted((a, b) => a - b)
            .filter((s) => s > 0)
            .map((s) => BASE + BigInt(s) * SECOND),
          end,
        ];
        const parts = at.slice(1).map((until, i) => span(at[i] ?? BASE, until));
        const [whole, cut, another] = await billing.readUsage(
          [
            { customerId, spans: [span(BASE, end)] },
            { customerId, spans: parts },
            { customerId: other, spans: parts },
          ],
          signal,
        );
        for (const region of ['eu', 'us']) {
          const all = whole?.[0]?.find((usage) => usage.region === region)?.observed;
          const sum = (cut ?? [])
            .flat()
            .filter((usage) => usage.region === region)
            .reduce((total, usage) => plus(total, usage.observed), NOTHING);
          expect(sum).toEqual(all);
        }
        expect(another?.flat().reduce((total, usage) => total + usage.observed.observedNanos, 0n)).toBe(10n * MINUTE);
        const { usage, missingFrom } = await billing.recomputeUsage({ customerId, spans: parts }, signal);
        expect(usage).toEqual(cut);
        expect(missingFrom).toBeUndefined();
      }),
      { numRuns: 8 },
    );
  });

  it('cuts an hour as docs/money.md says, with hashes that no version may change: final invoices have them', async () => {
    const customerId = randomUUID();
    const at = (minute: number, endMinute: number) => ({
      startNanos: BASE + BigInt(minute) * MINUTE,
      endNanos: BASE + BigInt(endMinute) * MINUTE,
    });
    const busy = Array.from({ length: 60 }, (_, minute) => report(customerId, minute, { cpuTimeNanos: MINUTE }));
    const over = HOUR + 15n * MINUTE + 30n * SECOND;
    await store(client, [
      ...busy,
      report(customerId, 0, { vmId: 'vm-2', ...at(60, 70), cpuTimeNanos: 7n }),
      report(customerId, 0, { vmId: 'vm-2', ...at(65, 75), region: 'us', cpuTimeNanos: 7n }),
    ]);
    await run();
    const cuts = [0n, over - HOUR, HOUR, HOUR + 7n * MINUTE, over].map((nanos) => BASE + nanos);
    const spans = cuts.slice(1).map((until, index) => span(cuts[index] ?? BASE, until));
    const [found = []] = await billing.readUsage([{ customerId, spans }], signal);
    const shown = found.map((regions) =>
      regions.map(({ region, observed, hoursHash }) => {
        return [region, observed.cpuTimeNanos, observed.observedNanos / SECOND, hoursHash];
      }),
    );
    expect(shown).toEqual([
      [['eu', 930n * SECOND, 930n, '8c17d9a439519cb16abffaabcb3ea3c6']],
      [['eu', 2670n * SECOND, 2670n, '8b1855f159175699bccd1d8785534f0a']],
      [
        ['eu', 4n, 420n, '09592e16c5df175797312a778333713a'],
        ['us', 1n, 0n, '655a035682e5e3b67fca5a4c07b4bd03'],
      ],
      [
        ['eu', 3n, 180n, '003471168930b53c0eb03fcba0035c5d'],
        ['us', 6n, 300n, 'd472e557ef66b75656e0b3b0a0555908'],
      ],
    ]);
    const [[whole] = []] = await billing.readUsage([{ customerId, spans: [span(BASE, BASE + HOUR)] }], signal);
    expect(whole?.map(({ hoursHash }) => hoursHash)).toEqual(['f906e5bb15437ad8081fdbc8529b6074']);
  });

  it('has another hash wherever a VM, a region, an hour or a quantity is another one, and the same for the same', async () => {
    const usage = (changes: Parameters<typeof report>[2], minute = 0) => ({ changes, minute });
    const different = [
      usage({ vmId: 'vm', region: 'a' }),
      usage({ vmId: 'm', region: 'av' }),
      usage({ vmId: 'vm2', region: 'a' }),
      usage({ vmId: 'vm', region: 'a' }, 60),
      usage({ vmId: 'vm', region: 'a', diskReadBytes: 4n, diskWriteBytes: 3n }),
      usage({ vmId: 'vm', region: 'a', networkTxBytes: 256n }),
    ];
    const customers = [...different, ...different.slice(0, 1)].map((each) => ({ ...each, customerId: randomUUID() }));
    await store(
      client,
      customers.map(({ customerId, minute, changes }) => report(customerId, minute, changes)),
    );
    await run();
    const asked = customers.map(({ customerId }) => ({ customerId, spans: [span(BASE, BASE + 2n * HOUR)] }));
    const hashes = (await billing.readUsage(asked, signal)).map(([regions]) => regions?.[0]?.hoursHash);
    expect(new Set(hashes).size).toBe(different.length);
    expect(hashes.at(-1)).toBe(hashes[0]);
  });

  it('has another hash where other windows come to the same sums', async () => {
    const customers = [
      [1n, 2n],
      [2n, 1n],
      [1n, 2n],
    ].map((values) => ({ customerId: randomUUID(), values }));
    const windows = customers.flatMap(({ customerId, values }) =>
      values.map((cpuTimeNanos, index) => report(customerId, index, { cpuTimeNanos })),
    );
    await store(client, windows);
    await run();
    const asked = customers.map(({ customerId }) => ({ customerId, spans: [span(BASE, BASE + HOUR)] }));
    const [a, b, c] = (await billing.readUsage(asked, signal)).map(([regions]) => regions?.[0]);
    expect(b?.observed).toEqual(a?.observed);
    expect(b?.hoursHash).not.toBe(a?.hoursHash);
    expect(c?.hoursHash).toBe(a?.hoursHash);
  });

  it('answers nothing where nothing was used, and keeps customers and spans apart', async () => {
    const [a, b] = [randomUUID(), randomUUID()];
    await store(client, [report(a, 0), report(b, 60)]);
    await run();
    const spans = [span(BASE, BASE + HOUR), span(BASE + HOUR, BASE + 2n * HOUR)];
    const found = await billing.readUsage(
      [a, b, randomUUID()].map((customerId) => ({ customerId, spans })),
      signal,
    );
    expect(found.map((each) => each.map((usages) => usages.length))).toEqual([
      [1, 0],
      [0, 1],
      [0, 0],
    ]);
  });
});

describe('pendingCustomers and changedSince', () => {
  it('name who waits for the rollup, and what was computed since', async () => {
    const [a, b] = [randomUUID(), randomUUID()];
    const within = (customerId: string) => ({ customerId, startNanos: BASE + 30n * MINUTE, endNanos: BASE + HOUR });
    await store(client, [report(a, 0)]);
    expect(await billing.pendingCustomers([within(a), within(b)], signal)).toEqual(new Set([a]));
    const before = systemClock.nowNanos();
    await run();
    expect(await billing.pendingCustomers([within(a), within(b)], signal)).toEqual(new Set());
    const asked = [
      { ...within(a), sinceNanos: before },
      { ...within(a), sinceNanos: systemClock.nowNanos() },
      { ...within(b), sinceNanos: before },
      { ...within(a), startNanos: BASE + HOUR, endNanos: BASE + 2n * HOUR, sinceNanos: before },
    ];
    expect(await billing.changedSince(asked, signal)).toEqual([true, false, false, false]);
  });

  it('says from when on raw windows are kept', async () => {
    const customerId = randomUUID();
    await store(client, [report(customerId, 0), report(customerId, 180)]);
    await run();
    await client.command({
      query: `DELETE FROM windows WHERE customer_id = '${customerId}' AND window_start < fromUnixTimestamp64Nano(${BASE + HOUR})`,
    });
    const request = { customerId, spans: [span(BASE, BASE + 4n * HOUR)] };
    expect(await billing.recomputeUsage(request, signal)).toMatchObject({ missingFrom: BASE + 3n * HOUR });
  });
});
