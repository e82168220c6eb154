import { describe, expect, it } from 'vitest';
import { clickHouseForTest } from '../../database.ts';

const { client } = await clickHouseForTest();

/** 2^63 - 1: what a row's precedence and its receipt in nanoseconds add up to. */
const PRECEDENCE_BASE = 9_223_372_036_854_775_807n;
const RECEIVED_NANOS = 1_767_225_600_123_456_789n;

const window = {
  customer_id: 'customer',
  vm_id: 'vm',
  window_start: '2026-01-01T00:00:00.000000001Z',
  window_end: '2026-01-01T00:01:00.000000001Z',
  value_hash: '18446744073709551615',
  cpu_time_nanos: '18446744073709551615',
  precedence: String(PRECEDENCE_BASE - RECEIVED_NANOS),
};

describe('every table', () => {
  it('has an insert on disk before it confirms it', async () => {
    const created = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'";
    const synced = "create_table_query LIKE '%fsync_after_insert = 1%fsync_part_directory = 1%'";
    expect(await rowsOf(created)).toHaveLength(13);
    expect(await rowsOf(`${created} AND NOT ${synced}`)).toEqual([]);
  });
});

describe('the table of windows', () => {
  it('keeps of equal copies the one that was received first, and tells when that was', async () => {
    const later = { ...window, instance_id: 'later', precedence: String(PRECEDENCE_BASE - RECEIVED_NANOS - 5n) };
    for (const row of [later, { ...window, instance_id: 'first' }, later]) await insert('windows', [row]);
    const query = 'SELECT instance_id, received_at, window_start, cpu_time_nanos FROM windows';
    const kept = {
      instance_id: 'first',
      received_at: '2026-01-01T00:00:00.123456789Z',
      window_start: '2026-01-01T00:00:00.000000001Z',
      cpu_time_nanos: '18446744073709551615',
    };
    expect(await rowsOf(`${query} FINAL`)).toEqual([kept]);
    await client.command({ query: 'OPTIMIZE TABLE windows FINAL' });
    expect(await rowsOf(query)).toEqual([kept]);
  });

  it('keeps both of two windows of the same key and other values', async () => {
    const other = { ...window, vm_id: 'disputed' };
    await insert('windows', [other, { ...other, value_hash: '1' }]);
    expect(await rowsOf("SELECT value_hash FROM windows FINAL WHERE vm_id = 'disputed'")).toHaveLength(2);
  });
});

describe('the table of hours', () => {
  const hour = {
    customer_id: 'customer',
    hour: '2026-01-01T00:00:00Z',
    region: 'north',
    vm_id: 'vm',
    cpu_time_nanos: '340282366920938463463374607431768211455',
    gaps: [{ start: '2026-01-01T00:10:00.000000000Z', end: '2026-01-01T00:20:00.000000000Z' }],
    version: '1',
    is_deleted: 0,
  };

  it('holds 128-bit sums and gaps, and the greatest version counts', async () => {
    await insert('usage_hours', [{ ...hour, version: '2', cpu_time_nanos: '7' }]);
    await insert('usage_hours', [{ ...hour, version: '3' }]);
    await insert('usage_hours', [hour]);
    const query = 'SELECT version, toString(cpu_time_nanos) AS cpu_time_nanos, gaps, hour FROM usage_hours FINAL';
    const { cpu_time_nanos, gaps, hour: start } = hour;
    expect(await rowsOf(query)).toEqual([{ version: '3', cpu_time_nanos, gaps, hour: start }]);
  });

  it('forgets an hour that a later version deletes', async () => {
    const gone = { ...hour, vm_id: 'gone' };
    await insert('usage_hours', [gone]);
    await insert('usage_hours', [{ ...gone, version: '2', is_deleted: 1 }]);
    expect(await rowsOf("SELECT version FROM usage_hours FINAL WHERE vm_id = 'gone'")).toEqual([]);
  });
});

describe('the client', () => {
  it('fails when a query fails after its first rows', async () => {
    // More than the server holds back by itself before it sends that all is well.
    const query = 'SELECT throwIf(number = 900000), number FROM numbers(1000000) SETTINGS max_block_size = 1000';
    await expect(rowsOf(query)).rejects.toThrow(/throwIf/);
    await expect(client.exec({ query: `${query} FORMAT TSV` })).rejects.toThrow(/throwIf/);
  });

  it('inserts at once and not through a buffer', async () => {
    const settings = "SELECT name, value FROM system.settings WHERE name IN ('async_insert', 'session_timezone')";
    const expected = [
      { name: 'async_insert', value: '0' },
      { name: 'session_timezone', value: 'UTC' },
    ];
    expect(await rowsOf(`${settings} ORDER BY name`)).toEqual(expected);
  });
});

async function insert(table: string, values: readonly object[]): Promise<void> {
  await client.insert({ table, values, format: 'JSONEachRow' });
}

async function rowsOf(query: string): Promise<unknown> {
  return (await client.query({ query, format: 'JSONEachRow' })).json();
}
