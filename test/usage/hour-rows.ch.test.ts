import { randomUUID } from 'node:crypto';
import { array, assert, asyncProperty, nat } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ALL_SOURCES, type Cells, cellParameters, WINDOWS_ONLY } from '../../src/usage/cells.ts';
import { HOUR_COLUMNS, hourRows } from '../../src/usage/hour-rows.ts';
import { select } from '../../src/usage/select.ts';
import { clickHouseForTest } from '../database.ts';
import { anyReports } from './arbitrary.ts';
import { type ModelHour, modelHours, windowKey } from './model.ts';
import { readHours } from './rolled-up-hours.ts';
import { BASE, choose, HOUR, MINUTE, type Report, report, storeWindows } from './stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();
const FIVE_HOURS = [0, 1, 2, 3, 4, 5].map((hour) => Number(BASE / 1_000_000_000n) + hour * 3600);

/** The rows as the model has them. */
function computed(cells: Cells): Promise<ModelHour[]> {
  return readHours(client, `(${hourRows('true', WINDOWS_ONLY)})`, cellParameters(cells));
}

async function ofCustomer(customerId: string): Promise<ModelHour[]> {
  return computed({ customerIds: [customerId], hours: FIVE_HOURS });
}

describe('hour rows', () => {
  it('are what the model computes, before and after merges, in any order', async () => {
    await assert(
      asyncProperty(array(anyReports, { minLength: 1, maxLength: 8 }), nat(), async (cases, turn) => {
        const run = randomUUID();
        const reports: Report[] = cases.flatMap((each, index) =>
          each.map((one) => ({ ...one, customerId: `${run}-${index}` })),
        );
        const cells = { customerIds: cases.map((_, index) => `${run}-${index}`), hours: FIVE_HOURS };
        const expected = modelHours(reports).filter((row) => row.hour < BASE + 6n * HOUR);
        // Copies in other parts and another order change nothing.
        const cutAt = turn % reports.length;
        await storeWindows(client, [...reports.slice(cutAt), ...reports.slice(0, cutAt)]);
        expect(await computed(cells)).toEqual(expected);
        await storeWindows(client, reports.slice(0, cutAt + 1));
        expect(await computed(cells)).toEqual(expected);
        await client.command({ query: 'OPTIMIZE TABLE windows FINAL' });
        expect(await computed(cells)).toEqual(expected);
      }),
      { numRuns: 12 },
    );
  });

  it('count the report that somebody chose, as the model does, before and after merges', async () => {
    await assert(
      asyncProperty(array(anyReports, { minLength: 1, maxLength: 8 }), nat(), async (cases, turn) => {
        const run = randomUUID();
        const reports: Report[] = cases.flatMap((each, index) =>
          each.map((one) => ({ ...one, customerId: `${run}-${index}` })),
        );
        const cells = { customerIds: cases.map((_, index) => `${run}-${index}`), hours: FIVE_HOURS };
        await storeWindows(client, reports);
        // Any report of every second window; and before it another one, which the later choice replaces.
        const keys = Map.groupBy(reports, windowKey);
        const chosen = [...keys.values()].flatMap((same, index) => {
          return (index + turn) % 2 === 0 ? same.slice(turn % same.length).slice(0, 1) : [];
        });
        for (const [index, one] of chosen.entries()) {
          const other = keys.get(windowKey(one))?.at(-1) ?? one;
          await choose(client, other, 2n * BigInt(index));
          await choose(client, one, 2n * BigInt(index) + 1n);
        }
        const expected = modelHours(reports, chosen).filter((row) => row.hour < BASE + 6n * HOUR);
        expect(await computed(cells)).toEqual(expected);
        await client.command({ query: 'OPTIMIZE TABLE windows FINAL' });
        await client.command({ query: 'OPTIMIZE TABLE conflict_resolutions FINAL' });
        expect(await computed(cells)).toEqual(expected);
      }),
      { numRuns: 6 },
    );
  });

  it('split a window across the edge by time, the remainder to the later part', async () => {
    const customerId = randomUUID();
    const value = 2n ** 64n - 1n;
    const startNanos = BASE + HOUR - 7n;
    await storeWindows(client, [
      report(customerId, 0, { startNanos, endNanos: startNanos + MINUTE, cpuTimeNanos: value }),
    ]);
    const [head, tail] = await ofCustomer(customerId);
    expect(head?.cpuTimeNanos).toBe((value * 7n) / MINUTE);
    expect(tail?.cpuTimeNanos).toBe(value - (value * 7n) / MINUTE);
    expect([head?.observed, tail?.observed]).toEqual([7n, MINUTE - 7n]);
  });

  it('have the types of the stored rows, on which hashes of them depend', async () => {
    const typesOf = async (sql: string) => {
      const rows = await select<{ name: string; type: string }>(
        client,
        `DESCRIBE (SELECT ${HOUR_COLUMNS.join(', ')} FROM ${sql})`,
        cellParameters({ customerIds: [''], hours: FIVE_HOURS }),
        signal,
      );
      // A column of the table names the parts of its tuples and its zone; that changes no value.
      return rows.map(({ name, type }) => [name, name === 'gaps' ? '' : type.replace("('UTC')", '')]);
    };
    expect(await typesOf(`(${hourRows('true', ALL_SOURCES)})`)).toEqual(await typesOf('usage_hours'));
  });

  it('call more than two minutes a gap, and exactly two minutes none', async () => {
    const [two, more, twoOverlapping] = [randomUUID(), randomUUID(), randomUUID()];
    await storeWindows(client, [report(two, 0), report(two, 3), report(more, 0)]);
    // The overlap sends this VM the general way.
    const overlap = { endNanos: BASE + 5n * MINUTE };
    await storeWindows(
      client,
      [0, 3].map((minute) => report(twoOverlapping, minute)),
    );
    await storeWindows(client, [report(twoOverlapping, 3, overlap)]);
    const startNanos = BASE + 3n * MINUTE + 1n;
    await storeWindows(client, [report(more, 0, { startNanos, endNanos: startNanos + MINUTE })]);
    for (const customerId of [two, twoOverlapping]) {
      expect((await ofCustomer(customerId))[0]).toMatchObject({ gaps: [], unobserved: 2n * MINUTE });
    }
    expect((await ofCustomer(more))[0]).toMatchObject({ gaps: [[BASE + MINUTE, startNanos]] });
  });

  it('see a VM that changes regions as one: no gap, and no time twice', async () => {
    const customerId = randomUUID();
    const us = { region: 'us' };
    await storeWindows(
      client,
      [0, 1, 2, 10, 11].map((minute) => report(customerId, minute)),
    );
    await storeWindows(
      client,
      [3, 4, 5, 6, 7, 8, 9, 11].map((minute, index) =>
        report(
          customerId,
          minute,
          minute === 11 ? { ...us, endNanos: BASE + 13n * MINUTE } : { ...us, receipt: BigInt(index) },
        ),
      ),
    );
    const rows = await ofCustomer(customerId);
    expect(rows.map((row) => [row.region, row.observed, row.gaps])).toEqual([
      ['eu', 5n * MINUTE, []],
      ['us', 8n * MINUTE, []],
    ]);
  });
});
