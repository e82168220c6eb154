import { randomUUID } from 'node:crypto';
import { array, assert, asyncProperty, boolean, oneof } from 'fast-check';
import { expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { WINDOWS_ONLY } from '../../src/usage/cells.ts';
import { replaceHours } from '../../src/usage/replace-hours.ts';
import type { TouchedHour } from '../../src/usage/touched-hours.ts';
import { clickHouseForTest } from '../database.ts';
import { anyReports, regularReports } from './arbitrary.ts';
import { type ModelHour, modelHours } from './model.ts';
import { readHours } from './rolled-up-hours.ts';
import { type Report, storeWindows } from './stored.ts';

const { client } = await clickHouseForTest();
// What is stored twice stays so.
await client.command({ query: 'SYSTEM STOP MERGES windows' });
const SECOND = 1_000_000_000n;

/** Computes the hours of the reports. @returns how many rows were written */
function replace(reports: readonly Report[]): Promise<number> {
  const pairs = modelHours(reports).map(({ customerId, hour }): [string, TouchedHour] => {
    return [`${customerId} ${hour}`, { customerId, hour: Number(hour / SECOND) }];
  });
  const { signal } = new AbortController();
  return replaceHours({ clickhouse: client, clock: systemClock, signal }, [...new Map(pairs).values()], WINDOWS_ONLY);
}

function storedHours(reports: readonly Report[]): Promise<ModelHour[]> {
  const customers = [...new Set(reports.map(({ customerId }) => customerId))];
  const from = '(SELECT * FROM usage_hours FINAL WHERE customer_id IN {customers:Array(String)})';
  return readHours(client, from, { customers });
}

it('stores what the model computes: of regular VMs, of any, and where some windows are stored twice', async () => {
  const customers = array(oneof(regularReports, anyReports), { minLength: 1, maxLength: 12 });
  // Which ones are stored twice, in turn.
  const again = array(boolean(), { minLength: 1, maxLength: 8 });
  await assert(
    asyncProperty(customers, again, async (given, turns) => {
      const run = randomUUID();
      const reports = given.flatMap((each, index) => each.map((one) => ({ ...one, customerId: `${run}-${index}` })));
      const expected = modelHours(reports);
      for (const stored of [reports, reports.filter((_, index) => turns[index % turns.length])]) {
        if (stored.length > 0) await storeWindows(client, stored);
        expect(await replace(reports)).toBe(expected.length);
        expect(await storedHours(reports)).toEqual(expected);
      }
    }),
    { numRuns: 10 },
  );
});
