import { randomUUID } from 'node:crypto';
import { assert, asyncProperty } from 'fast-check';
import { expect, it } from 'vitest';
import { liveHours, liveParameters } from '../../src/usage/live-hours.ts';
import { select } from '../../src/usage/select.ts';
import { quantitiesOf } from '../../src/usage/window.ts';
import { clickHouseForTest } from '../database.ts';
import { anyReports, regularReports } from './arbitrary.ts';
import { modelHours } from './model.ts';
import { BASE, MINUTE, type Report, report, storeWindows } from './stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();
const SECOND = 1_000_000_000n;

interface Row {
  readonly vm_id: string;
  readonly at: number;
  readonly windows: string;
  readonly windows_carried: string;
  readonly irregular: number;
}

function computed(customer: string, hours: readonly number[]): Promise<Row[]> {
  return select<Row>(
    client,
    `SELECT * EXCEPT (hour), toUnixTimestamp(hour) AS at FROM (${liveHours('true')}) ORDER BY at, vm_id`,
    { customer, ...liveParameters(hours) },
    signal,
  );
}

/** What the rows should be where the model has them without conflicts and gaps. */
function modelled(reports: readonly Report[]) {
  return modelHours(reports).map((row) => ({
    vm_id: row.vmId,
    region: row.region,
    at: Number(row.hour / SECOND),
    quantities: Object.values(quantitiesOf((field) => row[field])).map(String),
    observed_nanos: String(row.observed),
    unobserved_nanos: String(row.unobserved),
    windows: String(row.windows),
    windows_carried: String(row.windowsCarried),
    conflicts: String(row.conflicts),
    conflicts_carried: String(row.conflictsCarried),
    first: String(row.first),
    last: String(row.last),
    gaps: row.gaps.map(([start, end]) => [String(start), row.vmId, String(end)]),
    edges: 0,
    irregular: 0,
  }));
}

function hoursOf(reports: readonly Report[]): number[] {
  return [...new Set(modelled(reports).map((row) => row.at))];
}

it('are what the model computes where a VM is regular', async () => {
  await assert(
    asyncProperty(regularReports, async (given) => {
      const customerId = randomUUID();
      const reports = given.map((each) => ({ ...each, customerId }));
      await storeWindows(client, reports);
      expect(await computed(customerId, hoursOf(reports))).toEqual(modelled(reports));
    }),
    { numRuns: 30 },
  );
});

it('say so where they are not right', async () => {
  await assert(
    asyncProperty(anyReports, async (given) => {
      const customerId = randomUUID();
      const reports = given.map((each) => ({ ...each, customerId }));
      await storeWindows(client, reports);
      const expected = modelled(reports);
      for (const row of await computed(customerId, hoursOf(reports))) {
        const ofModel = expected.filter((each) => each.vm_id === row.vm_id && each.at === row.at);
        if (row.irregular === 0) expect([row]).toEqual(ofModel);
      }
    }),
    { numRuns: 40 },
  );
});

it('leave out the hours between those that are asked for', async () => {
  const customerId = randomUUID();
  const across = (minute: number) => report(customerId, minute, { endNanos: BASE + BigInt(minute + 2) * MINUTE });
  const reports = [across(0), across(59), across(100), across(179)];
  await storeWindows(client, reports);
  const [first = 0, , , last = 0] = hoursOf(reports);
  const rows = await computed(customerId, [first, last]);
  expect(rows.map((row) => [row.at, row.windows, row.windows_carried])).toEqual([
    [first, '2', '0'],
    [last, '1', '1'],
  ]);
});

it('see an overlap that a hole of the same length makes up for', async () => {
  const customerId = randomUUID();
  const copy = report(customerId, 1);
  await storeWindows(client, [report(customerId, 0), copy, report(customerId, 3)]);
  await storeWindows(client, [copy]);
  const [row] = await computed(customerId, [Number(BASE / SECOND)]);
  expect(row?.irregular).toBe(1);
});
