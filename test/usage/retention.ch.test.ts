import { randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { removeExpired } from '../../src/usage/retention.ts';
import { select } from '../../src/usage/select.ts';
import { clickHouseForTest } from '../database.ts';
import { HOUR, type Report, report, storeWindows, touch } from './stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();
const DAY_MS = 86_400_000;

function windowAt(time: string, changes: Partial<Report> = {}): Report {
  const startNanos = BigInt(Date.parse(time)) * 1_000_000n;
  return report(randomUUID(), 0, { startNanos, endNanos: startNanos + 60_000_000_000n, ...changes });
}

/** An hour of the month, as the rollup left it. */
async function storeHour(hour: string): Promise<void> {
  const values = [
    { customer_id: randomUUID(), hour: Date.parse(hour) / 1000, region: 'eu', vm_id: 'vm-1', version: 1 },
  ];
  await client.insert({ table: 'usage_hours', values, format: 'JSONEachRow' });
}

async function months(table: string): Promise<string[]> {
  const rows = await select<{ month: string }>(
    client,
    `SELECT DISTINCT toString(_partition_id) AS month FROM ${table} ORDER BY month`,
    {},
    signal,
  );
  return rows.map((row) => row.month);
}

/** What is left once all that is over so old, on 1 June 2026, is removed. */
async function removeAt(now: string, changes: { keepFrom?: Date; rawDays?: number; hoursDays?: number } = {}) {
  const nowMs = Date.parse(now);
  const options = { clickhouse: client, nowMs, rawDays: 31, hoursDays: 400, keepFrom: undefined, signal };
  return removeExpired({ ...options, ...changes });
}

beforeEach(async () => {
  for (const table of ['windows', 'usage_hours', 'touched_hours']) await client.command({ query: `TRUNCATE ${table}` });
});

describe('removeExpired', () => {
  it('removes whole months, once no billing period that may still get a late window reaches into them, and an hour more', async () => {
    await storeWindows(client, [windowAt('2026-03-01T00:00:00Z'), windowAt('2026-04-30T23:59:00Z')]);
    // Windows may be 31 days late, and have a period of at most 32 days billed anew.
    const april = Date.parse('2026-05-01T00:00:00Z') + (31 + 32) * DAY_MS;
    expect(await removeAt(new Date(april + 3_599_999).toISOString())).toEqual([{ table: 'windows', month: '202603' }]);
    expect(await months('windows')).toEqual(['202604']);
    expect(await removeAt(new Date(april + 3_600_000).toISOString())).toEqual([{ table: 'windows', month: '202604' }]);
    expect(await months('windows')).toEqual([]);
    expect(await removeAt(new Date(april + 3_600_000).toISOString())).toEqual([]);
  });

  it('keeps hours longer than windows', async () => {
    await storeWindows(client, [windowAt('2026-01-05T00:00:00Z')]);
    await storeHour('2026-01-05T00:00:00Z');
    await removeAt('2026-06-01T12:00:00Z');
    expect([await months('windows'), await months('usage_hours')]).toEqual([[], ['202601']]);
    await removeAt('2027-06-01T12:00:00Z');
    expect(await months('usage_hours')).toEqual([]);
  });

  it('keeps a month with an hour that waits for the rollup, and one whose last window reaches into such an hour', async () => {
    const march = windowAt('2026-03-10T10:00:00Z');
    const april = windowAt('2026-04-30T10:00:00Z');
    await storeWindows(client, [march, april]);
    await touch(client, [march, windowAt('2026-05-01T00:30:00Z')]);
    expect(await removeAt('2026-12-01T12:00:00Z')).toEqual([]);
    await client.command({ query: 'TRUNCATE touched_hours' });
    await touch(client, [windowAt('2026-05-01T01:30:00Z', { receipt: HOUR })]);
    expect(await removeAt('2026-12-01T12:00:00Z')).toHaveLength(2);
  });

  it('keeps what is still to be billed, and the month before whose last window may reach into it', async () => {
    const stored = ['2026-02-10', '2026-03-10', '2026-04-10'].map((day) => windowAt(`${day}T00:00:00Z`));
    await storeWindows(client, stored);
    await storeHour('2026-04-10T00:00:00Z');
    await removeAt('2028-01-01T12:00:00Z', { keepFrom: new Date('2026-04-01T00:00:00Z') });
    expect([await months('windows'), await months('usage_hours')]).toEqual([['202603', '202604'], ['202604']]);
    await removeAt('2028-01-01T12:00:00Z');
    expect([await months('windows'), await months('usage_hours')]).toEqual([[], []]);
  });
});
