import { randomUUID } from 'node:crypto';
import { array, assert, asyncProperty, bigInt, nat, record, uniqueArray } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { rollUp } from '../../src/usage/rollup.ts';
import type { UsageSpan } from '../../src/usage/span-usage.ts';
import { UsageForBilling } from '../../src/usage/usage-for-billing.ts';
import { clickHouseForTest } from '../database.ts';
import { storeNotices } from './readings.ts';
import { BASE, HOUR, MINUTE, type Report, report, store } from './stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();
const billing = new UsageForBilling(client);
const SECOND = 1_000_000_000n;
const run = () => rollUp({ clickhouse: client, clock: systemClock, signal });

type Policy = UsageSpan['gapPolicy'];

function span(gapPolicy: Policy, startNanos = BASE, endNanos = BASE + 6n * HOUR, gapSecondsMax = 600): UsageSpan {
  return { startNanos, endNanos, gapPolicy, gapSecondsMax };
}

/** Of all regions: the CPU nanoseconds and the time that are estimated under each policy, in each span. */
async function estimated(customerId: string, spans: readonly UsageSpan[]): Promise<(readonly [bigint, bigint])[]> {
  const [found = []] = await billing.readUsage([{ customerId, spans }], signal);
  const { usage } = await billing.recomputeUsage({ customerId, spans }, signal);
  expect(usage, 'the same from raw windows').toEqual(found);
  return found.map((regions) => [
    regions.reduce((sum, each) => sum + each.estimated.cpuTimeNanos, 0n),
    regions.reduce((sum, each) => sum + each.estimated.observedNanos, 0n),
  ]);
}

const POLICIES = [span('skip'), span('interpolate'), span('carry')];

/** The windows of the golden table: a minute with 6 s of CPU, a gap, and a minute with 12 s. */
function around(customerId: string, gapMinutes: number, from = 0): Report[] {
  return [
    report(customerId, from, { cpuTimeNanos: 6n * SECOND }),
    report(customerId, from + 1 + gapMinutes, { cpuTimeNanos: 12n * SECOND }),
  ];
}

describe('estimates', () => {
  it('are those of the golden table', async () => {
    const [five, eleven, stopped] = [randomUUID(), randomUUID(), randomUUID()];
    await store(client, [...around(five, 5), ...around(eleven, 11), ...around(stopped, 5)]);
    await storeNotices(client, [
      { vmId: 'vm-1', kind: 'stopped', atNanos: BASE + 2n * MINUTE, customerId: stopped },
      { vmId: 'vm-1', kind: 'started', atNanos: BASE + 5n * MINUTE, customerId: stopped },
    ]);
    await run();
    expect(await estimated(five, POLICIES)).toEqual([
      [0n, 0n],
      [45n * SECOND, 5n * MINUTE],
      [30n * SECOND, 5n * MINUTE],
    ]);
    expect(await estimated(eleven, POLICIES)).toEqual([
      [0n, 0n],
      [0n, 0n],
      [0n, 0n],
    ]);
    expect(await estimated(eleven, [span('carry', BASE, BASE + HOUR, 660)])).toEqual([[66n * SECOND, 11n * MINUTE]]);
    expect(await estimated(stopped, POLICIES)).toEqual([
      [0n, 0n],
      [0n, 0n],
      [0n, 0n],
    ]);
  });

  it('fill gaps of up to an hour over edges of hours, in the region that goes on, and none that is longer', async () => {
    const [whole, longer, moved] = [randomUUID(), randomUUID(), randomUUID()];
    const endNanos = BASE + 161n * MINUTE;
    await store(client, [
      ...around(whole, 60, 59),
      ...around(longer, 60, 59).map((one, index) => (index === 0 ? one : { ...one, startNanos: one.startNanos + 1n })),
      report(moved, 50, { cpuTimeNanos: 6n * SECOND }),
      report(moved, 71, { region: 'us', endNanos }),
    ]);
    await run();
    const limit = 3600;
    expect(await estimated(whole, [span('carry', BASE, BASE + 4n * HOUR, limit)])).toEqual([[360n * SECOND, HOUR]]);
    expect(await estimated(longer, [span('carry', BASE, BASE + 4n * HOUR, limit)])).toEqual([[0n, 0n]]);
    const [[regions = []] = []] = await billing.readUsage(
      [{ customerId: moved, spans: [span('carry', BASE, BASE + 4n * HOUR, limit)] }],
      signal,
    );
    expect(regions.map((each) => [each.region, each.estimated.cpuTimeNanos])).toEqual([
      ['eu', 0n],
      ['us', 120n * SECOND],
    ]);
  });

  it('go when the real windows come, in the hours beside them too, and billing is told', async () => {
    const customerId = randomUUID();
    const reports = around(customerId, 8, 55);
    await store(client, reports.slice(0, 1));
    await run();
    expect(await estimated(customerId, POLICIES.slice(1))).toEqual([
      [0n, 0n],
      [0n, 0n],
    ]);
    const beforeEnd = systemClock.nowNanos();
    // What ends the gap is in the next hour: only its hour is touched.
    await store(client, reports.slice(1));
    await run();
    expect(await estimated(customerId, POLICIES.slice(2))).toEqual([[48n * SECOND, 8n * MINUTE]]);
    const firstHour = { customerId, startNanos: BASE, endNanos: BASE + HOUR };
    expect(await billing.changedSince([{ ...firstHour, sinceNanos: beforeEnd }], signal)).toEqual([true]);
    const [beforeReal, missing] = [systemClock.nowNanos(), [56, 57, 58, 59, 60, 61, 62, 63]];
    await store(
      client,
      missing.map((minute) => report(customerId, minute)),
    );
    await run();
    expect(await estimated(customerId, POLICIES.slice(2))).toEqual([[0n, 0n]]);
    expect(await billing.changedSince([{ ...firstHour, sinceNanos: beforeReal }], signal)).toEqual([true]);
    const afterAll = systemClock.nowNanos();
    await store(client, [report(customerId, 200)]);
    await run();
    expect(await billing.changedSince([{ ...firstHour, sinceNanos: afterAll }], signal)).toEqual([false]);
  });

  it('count where an earlier one of the gap was removed at a time that the clock has not come to again', async () => {
    const customerId = randomUUID();
    await store(client, around(customerId, 5));
    const ahead = systemClock.nowNanos() + 24n * HOUR;
    await client.command({
      query: `INSERT INTO usage_estimates (customer_id, hour, region, vm_id, gap_start, version, is_deleted)
        SELECT {c:String}, toStartOfHour(fromUnixTimestamp64Nano({gap:Int64}, 'UTC')) AS hour, 'eu', 'vm-1',
          fromUnixTimestamp64Nano({gap:Int64}, 'UTC'), {ahead:UInt64}, 1`,
      query_params: { c: customerId, gap: String(BASE + MINUTE), ahead: String(ahead) },
    });
    await run();
    expect(await estimated(customerId, [span('carry')])).toEqual([[30n * SECOND, 5n * MINUTE]]);
  });

  it('add up to the gap wherever spans are cut, and are the floor of the formulas', async () => {
    const value = bigInt({ min: 0n, max: 2n ** 64n - 1n });
    const life = array(
      record({ pause: bigInt({ min: 1n, max: 70n * MINUTE }), length: bigInt({ min: 1n, max: 10n * MINUTE }), value }),
      { minLength: 2, maxLength: 5 },
    );
    const cuts = uniqueArray(nat(6 * 3600 - 1), { minLength: 1, maxLength: 3 });
    await assert(
      asyncProperty(life, cuts, async (lived, seconds) => {
        const customerId = randomUUID();
        let at = BASE;
        const reports = lived.map(({ pause, length, value: cpuTimeNanos }) => {
          const startNanos = at + pause;
          at = startNanos + length;
          return report(customerId, 0, { startNanos, endNanos: at, cpuTimeNanos });
        });
        await store(client, reports);
        await run();
        const expected = [0n, 0n];
        for (const [index, after] of reports.entries()) {
          const before = reports[index - 1];
          if (before === undefined) continue;
          const gap = after.startNanos - before.endNanos;
          if (gap <= 2n * MINUTE || gap > HOUR) continue;
          const [l1, l2] = [before.endNanos - before.startNanos, after.endNanos - after.startNanos];
          const [v1, v2] = [before.cpuTimeNanos, after.cpuTimeNanos];
          expected[0] = (expected[0] ?? 0n) + (gap * (v1 * l2 + v2 * l1)) / (2n * l1 * l2);
          expected[1] = (expected[1] ?? 0n) + (gap * v1) / l1;
        }
        const instants = [...seconds.toSorted((a, b) => a - b).filter((s) => s > 0), 6 * 3600];
        for (const [index, policy] of (['interpolate', 'carry'] as const).entries()) {
          const whole = await estimated(customerId, [span(policy, BASE, BASE + 6n * HOUR, 3600)]);
          expect(whole[0]?.[0]).toBe(expected[index]);
          const parts = instants.map((until, i) => {
            return span(policy, BASE + BigInt(instants[i - 1] ?? 0) * SECOND, BASE + BigInt(until) * SECOND, 3600);
          });
          const cut = await estimated(customerId, parts);
          expect(cut.reduce(([a, b], [c, d]) => [a + c, b + d], [0n, 0n])).toEqual(whole[0]);
        }
      }),
      { numRuns: 3 },
    );
  });
});
