import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectClickHouse } from '../../../src/storage/clickhouse/client.ts';
import {
  type ClickHouseMigration,
  migrateClickHouse,
  readMigrations,
} from '../../../src/storage/clickhouse/migrate.ts';
import { withAdvisoryLock } from '../../../src/storage/postgres/advisory-lock.ts';
import { newClickHouseUrl, postgresForTest } from '../../database.ts';

const { pool } = await postgresForTest();

const withLock = <T>(work: () => Promise<T>): Promise<T> => withAdvisoryLock(pool, 'migrations', work);

const first: ClickHouseMigration = {
  number: 1,
  name: '0001-first',
  sql: 'CREATE TABLE IF NOT EXISTS a (n UInt8) ENGINE = MergeTree ORDER BY n;\n\nINSERT INTO a VALUES (1);\n',
};
const second: ClickHouseMigration = {
  number: 2,
  name: '0002-second',
  sql: '-- A comment; with a semicolon.\nALTER TABLE a ADD COLUMN IF NOT EXISTS m UInt8;\n',
};

describe('the migrations of ClickHouse', () => {
  it('are applied once each, in order, and only what is new', async () => {
    const url = newClickHouseUrl();
    expect(await migrateClickHouse({ url, withLock, migrations: [first] })).toEqual(['0001-first']);
    expect(await migrateClickHouse({ url, withLock, migrations: [first, second] })).toEqual(['0002-second']);
    expect(await migrateClickHouse({ url, withLock, migrations: [first, second] })).toEqual([]);
    expect(await rowsOf(url, 'SELECT n, m FROM a')).toEqual([{ n: 1, m: 0 }]);
  });

  it('are applied once by two that start together', async () => {
    const url = newClickHouseUrl();
    const both = [1, 2].map(() => migrateClickHouse({ url, withLock, migrations: [first, second] }));
    expect((await Promise.all(both)).flat()).toEqual(['0001-first', '0002-second']);
    expect(await rowsOf(url, 'SELECT n, m FROM a')).toEqual([{ n: 1, m: 0 }]);
  });

  it('are refused where an applied one was changed, by its text or its name', async () => {
    const url = newClickHouseUrl();
    await migrateClickHouse({ url, withLock, migrations: [first] });
    for (const changed of [
      { ...first, sql: `${first.sql}\n` },
      { ...first, name: '0001-other' },
    ]) {
      const again = migrateClickHouse({ url, withLock, migrations: [changed] });
      await expect(again).rejects.toThrow('ClickHouse migration 0001-first was applied and then changed');
    }
  });

  it('are refused where the database is newer', async () => {
    const url = newClickHouseUrl();
    await migrateClickHouse({ url, withLock, migrations: [first, second] });
    const older = migrateClickHouse({ url, withLock, migrations: [first] });
    await expect(older).rejects.toThrow(
      'made by a newer meterd: it has migration 0002-second, and this version ends with 0001-first',
    );
  });

  it('name the one that fails, which is applied again once it is right', async () => {
    const url = newClickHouseUrl();
    const wrong = { ...second, sql: 'ALTER TABLE nothing ADD COLUMN m UInt8;\n' };
    const failing = migrateClickHouse({ url, withLock, migrations: [first, wrong] });
    await expect(failing).rejects.toThrow(/ClickHouse migration 0002-second: .*nothing/);
    expect(await migrateClickHouse({ url, withLock, migrations: [first, second] })).toEqual(['0002-second']);
  });
});

describe('the files of the migrations', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'meterd-migrations-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('are numbered from 1 without gaps', async () => {
    expect((await readMigrations()).map((migration) => migration.name)).toContain('0001-usage');
    await writeFile(join(folder, '0002-late.sql'), 'SELECT 1;\n');
    await expect(readMigrations(folder)).rejects.toThrow('0002-late.sql: number 1 is expected here');
    await writeFile(join(folder, '0001_early.sql'), 'SELECT 1;\n');
    await expect(readMigrations(folder)).rejects.toThrow('0001_early.sql: number 1 is expected here');
  });
});

async function rowsOf(url: string, query: string): Promise<unknown> {
  const client = connectClickHouse({ url });
  try {
    return await (await client.query({ query, format: 'JSONEachRow' })).json();
  } finally {
    await client.close();
  }
}
