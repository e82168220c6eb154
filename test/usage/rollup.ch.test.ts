import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Clock } from '../../src/lib/clock.ts';
import { rollUp } from '../../src/usage/rollup.ts';
import { select } from '../../src/usage/select.ts';
import { drainsOf, removeTouches, touchedHours } from '../../src/usage/touched-hours.ts';
import { clickHouseForTest } from '../database.ts';
import { storedByRegion, waitingHours } from './rolled-up-hours.ts';
import { BASE, HOUR, MINUTE, report, store, storeWindows, touch } from './stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();
const DAY = { startNanos: BASE, endNanos: BASE + 24n * HOUR };
const NOON_MS = Date.UTC(2026, 2, 2, 12);
const clock: Clock = { nowMs: () => NOON_MS, nowNanos: () => BigInt(NOON_MS) * 1_000_000n };
const BASE_HOUR = Number(BASE / 1_000_000_000n);

function run(bounds: { pairsMax?: number; windowsMax?: number; clock?: Clock } = {}) {
  return rollUp({ clickhouse: client, clock, signal, ...bounds });
}

/** Everything that a reader sees of a customer's hours, but for the version. */
async function stored(customerId: string): Promise<unknown[]> {
  return select(
    client,
    'SELECT * EXCEPT (version) FROM usage_hours FINAL WHERE customer_id = {c:String} ORDER BY hour, region, vm_id',
    { c: customerId },
    signal,
  );
}

async function windowsByRegion(customerId: string): Promise<string[]> {
  const rows = await storedByRegion(client, customerId, DAY);
  return rows.map((row) => `${row.region} ${row.windows}`);
}

/** @param rows SQL for drain, customer and hour of each touch */
async function touchBy(rows: string): Promise<void> {
  await client.command({ query: `INSERT INTO touched_hours (drain_id, customer_id, hour) ${rows}` });
}

function pending(customerId: string): Promise<number> {
  return waitingHours(client, customerId, DAY);
}

/** A client whose process dies before it removes touches for the nth time. */
function dyingAtDelete(nth: number): typeof client {
  let deletes = 0;
  return new Proxy(client, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return (options: { query?: string }) => {
        if (options.query?.startsWith('DELETE') && ++deletes === nth) throw new Error('killed');
        return Reflect.apply(value, target, [options]) as unknown;
      };
    },
  });
}

describe('rollUp', () => {
  it('computes what was touched, and then has nothing left to do', async () => {
    const customerId = randomUUID();
    await store(
      client,
      [0, 1, 61].map((minute) => report(customerId, minute)),
    );
    expect(await pending(customerId)).toBe(2);
    expect(await run()).toMatchObject({ hours: 2, rows: 2 });
    expect(await windowsByRegion(customerId)).toEqual(['eu 3']);
    expect(await pending(customerId)).toBe(0);
    expect(await run()).toEqual({ hours: 0, rows: 0 });
  });

  it('changes no digit when it runs again, nor when everything is sent and stored again', async () => {
    const customerId = randomUUID();
    const reports = [0, 1, 2, 30, 59].map((minute) =>
      report(customerId, minute, { endNanos: BASE + BigInt(minute) * MINUTE + MINUTE + 30_000_000_001n }),
    );
    await store(client, reports);
    await run();
    const before = await stored(customerId);
    expect(before).toHaveLength(2);
    await touch(client, reports);
    await run();
    expect(await stored(customerId)).toEqual(before);
    await store(client, reports.toReversed());
    await run();
    expect(await stored(customerId)).toEqual(before);
    await client.command({ query: 'OPTIMIZE TABLE usage_hours FINAL' });
    expect(await stored(customerId)).toEqual(before);
  });

  it('counts windows that came late in the next run', async () => {
    const customerId = randomUUID();
    await store(client, [report(customerId, 0)]);
    await run();
    await store(client, [report(customerId, 1)]);
    expect(await pending(customerId)).toBe(1);
    await run();
    expect(await windowsByRegion(customerId)).toEqual(['eu 2']);
  });

  it('has in an irregular hour what a window of the hour before brings into it', async () => {
    const customerId = randomUUID();
    await store(client, [
      report(customerId, 58),
      report(customerId, 59, { endNanos: BASE + 61n * MINUTE }),
      report(customerId, 62),
      report(customerId, 62, { endNanos: BASE + 64n * MINUTE }),
    ]);
    await run();
    expect(await stored(customerId)).toMatchObject([
      { windows: '2', windows_carried: '0', observed_nanos: String(2n * MINUTE) },
      { windows: '3', windows_carried: '1', observed_nanos: String(3n * MINUTE) },
    ]);
  });

  it('removes the row of a region that has no window of the VM any more', async () => {
    const customerId = randomUUID();
    await store(client, [report(customerId, 0, { region: 'us', receipt: 5n })]);
    await run();
    expect(await windowsByRegion(customerId)).toEqual(['us 1']);
    // An earlier report of the same window, which another collector stored later.
    await store(client, [report(customerId, 0, { receipt: 1n })]);
    await run();
    expect(await windowsByRegion(customerId)).toEqual(['eu 1']);
    await store(client, [report(customerId, 1, { region: 'us' })]);
    await run();
    expect(await windowsByRegion(customerId)).toEqual(['eu 1', 'us 1']);
  });

  it('replaces older rows also when the clock went back', async () => {
    const customerId = randomUUID();
    await store(client, [report(customerId, 0)]);
    await run();
    await store(client, [report(customerId, 1)]);
    await run({ clock: { nowMs: () => 0, nowNanos: () => 0n } });
    expect(await windowsByRegion(customerId)).toEqual(['eu 2']);
  });

  it('keeps a touch that comes while it works', async () => {
    const customerId = randomUUID();
    await store(client, [report(customerId, 0)]);
    const touched = await touchedHours(client, undefined, 10, signal);
    const drains = await drainsOf(client, touched, 10, signal);
    await store(client, [report(customerId, 1)]);
    await removeTouches(client, touched, drains, signal);
    expect(await pending(customerId)).toBe(1);
    await run();
    expect(await windowsByRegion(customerId)).toEqual(['eu 2']);
  });

  it('cut short before the touches are removed, computes the same hours again', async () => {
    const customerId = randomUUID();
    await store(client, [report(customerId, 0), report(customerId, 60)]);
    await expect(rollUp({ clickhouse: dyingAtDelete(1), clock, signal })).rejects.toThrow('killed');
    expect(await pending(customerId)).toBe(2);
    const before = await stored(customerId);
    expect(await run()).toMatchObject({ hours: 2 });
    expect(await stored(customerId)).toEqual(before);
  });

  it('cut short between its statements, has got as far as it came', async () => {
    const customers = Array.from({ length: 3 }, () => randomUUID());
    await store(
      client,
      customers.map((customerId) => report(customerId, 0)),
    );
    const cut = rollUp({ clickhouse: dyingAtDelete(2), clock, signal, windowsMax: 1 });
    await expect(cut).rejects.toThrow('killed');
    const left = await Promise.all(customers.map(pending));
    expect(left.filter((hours) => hours > 0)).toHaveLength(2);
    expect(await run()).toMatchObject({ hours: 2, rows: 2 });
  });

  it('works through slices of any size, for many customers and hours', async () => {
    const customers = Array.from({ length: 3 }, () => randomUUID());
    const reports = customers.flatMap((customerId, index) =>
      Array.from({ length: index + 2 }, (_, hour) => report(customerId, hour * 60)),
    );
    await store(client, reports);
    expect(await run({ pairsMax: 3, windowsMax: 1 })).toMatchObject({ hours: 9, rows: 9 });
    for (const [index, customerId] of customers.entries()) {
      expect(await windowsByRegion(customerId)).toEqual([`eu ${index + 2}`]);
    }
  });

  it('works off what thousands of drains touched', async () => {
    const customerId = randomUUID();
    await store(client, [report(customerId, 0)]);
    await touchBy(`SELECT generateUUIDv4(number), '${customerId}', fromUnixTimestamp(${BASE_HOUR}) FROM numbers(5000)`);
    await run();
    expect(await pending(customerId)).toBe(0);
    expect(await windowsByRegion(customerId)).toEqual(['eu 1']);
  });

  it('works off customers with the longest ids of quotes', async () => {
    const drainId = randomUUID();
    const id = `concat(leftPad(toString(number), 5, '0'), repeat('\\'', 123))`;
    await touchBy(`SELECT '${drainId}', ${id}, fromUnixTimestamp(${BASE_HOUR}) FROM numbers(1200)`);
    expect(await run()).toMatchObject({ hours: 1200 });
  });

  it('works off hours that are years apart', async () => {
    const [drainId, customerId] = [randomUUID(), randomUUID()];
    await touchBy(
      `SELECT '${drainId}', '${customerId}', fromUnixTimestamp(${BASE_HOUR} - number * 18000) FROM numbers(5000)`,
    );
    expect(await run()).toMatchObject({ hours: 5000 });
  });

  it('writes all rows of a customer and hour as one part', async () => {
    const customerId = randomUUID();
    await client.command({
      query: `INSERT INTO windows (customer_id, vm_id, window_start, window_end, region, precedence)
        SELECT {c:String}, toString(number), toDateTime64({base:Int64}, 9), toDateTime64({base:Int64} + 60, 9), 'eu', 1
        FROM numbers(200000)`,
      query_params: { c: customerId, base: BASE_HOUR },
    });
    await touch(client, [report(customerId, 0)]);
    expect(await run()).toEqual({ hours: 1, rows: 200_000 });
    const parts = await select(
      client,
      'SELECT DISTINCT _part FROM usage_hours WHERE customer_id = {c:String}',
      { c: customerId },
      signal,
    );
    expect(parts).toHaveLength(1);
  });

  it('ends with the signal', async () => {
    await storeWindows(client, [report(randomUUID(), 0)]);
    const ended = AbortSignal.abort(new Error('stop'));
    await expect(rollUp({ clickhouse: client, clock, signal: ended })).rejects.toThrow('stop');
  });
});
