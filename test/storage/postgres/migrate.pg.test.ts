import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import { describe, expect, it } from 'vitest';
import { connectPostgres } from '../../../src/storage/postgres/client.ts';
import { migratePostgres, POSTGRES_MIGRATIONS } from '../../../src/storage/postgres/migrate.ts';
import { makeRole } from '../../../src/storage/postgres/migrations/0008-customer-reads.ts';
import { createPostgresDatabase, postgresForTest } from '../../database.ts';

const { pool } = await postgresForTest();

const first: Migration = { up: (db) => sql`CREATE TABLE a (n int)`.execute(db).then(() => undefined) };
const second: Migration = { up: (db) => sql`INSERT INTO a VALUES (1)`.execute(db).then(() => undefined) };
const failing: Migration = { up: (db) => sql`INSERT INTO nothing VALUES (1)`.execute(db).then(() => undefined) };

describe('the migrations of Postgres', () => {
  it('are applied once each, and only what is new', async () => {
    const url = await createPostgresDatabase();
    expect(await migratePostgres(url, { first })).toEqual(['first']);
    expect(await migratePostgres(url, { first, second })).toEqual(['second']);
    expect(await migratePostgres(url, { first, second })).toEqual([]);
  });

  it('are applied once by two that start together', async () => {
    const url = await createPostgresDatabase();
    const both = [1, 2].map(() => migratePostgres(url, { first, second }));
    expect((await Promise.all(both)).flat()).toEqual(['first', 'second']);
    expect(await rowsOf(url, 'SELECT n FROM a')).toEqual([{ n: 1 }]);
  });

  it('make a role of the server where another database of it makes the same one at that moment', async () => {
    const [url, role] = [await createPostgresDatabase(), `role_${randomUUID().replaceAll('-', '')}`];
    const name = new URL(url).pathname.slice(1);
    const granted: Migration = {
      up: async (db) => {
        await sql.raw(makeRole(role)).execute(db);
        await sql.raw(`CREATE TABLE a (n int); GRANT SELECT ON a TO ${role}`).execute(db);
      },
    };
    const other = await pool.connect();
    await other.query(`BEGIN; ${makeRole(role)}`);
    const applied = migratePostgres(url, { granted });
    const waiting = "SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
    await expect.poll(async () => (await pool.query(waiting, [name])).rowCount, { timeout: 60_000 }).toBe(1);
    await other.query('COMMIT');
    other.release();
    expect(await applied).toEqual(['granted']);
  });

  it('are refused where the database is newer', async () => {
    const url = await createPostgresDatabase();
    await migratePostgres(url, { first, second });
    await expect(migratePostgres(url, { first })).rejects.toThrow(/newer meterd: .*second is missing/);
  });

  it('are applied all or not at all, and name the one that fails', async () => {
    const url = await createPostgresDatabase();
    await expect(migratePostgres(url, { first, second: failing })).rejects.toThrow(/migration second: .*nothing/);
    expect(await migratePostgres(url, { first, second })).toEqual(['first', 'second']);
  });

  it('have names that sort in the order in which they are listed', () => {
    const names = Object.keys(POSTGRES_MIGRATIONS);
    expect(names).toEqual(names.toSorted());
    for (const [index, name] of names.entries()) expect(name).toMatch(`${index + 1}`.padStart(4, '0'));
  });
});

describe('a connection to Postgres', () => {
  it('reads integers and decimals as they are, and days without a zone', async () => {
    const { rows } = await pool.query(`SELECT 9223372036854775807 AS whole, 0.1000000000000000000000000001 AS decimal,
      date '2026-01-31' AS day, timestamp '2026-01-31 00:00' AS local, timestamptz '2026-01-31T00:00:00Z' AS instant`);
    expect(rows).toEqual([
      {
        whole: '9223372036854775807',
        decimal: '0.1000000000000000000000000001',
        day: '2026-01-31',
        local: '2026-01-31 00:00:00',
        instant: new Date('2026-01-31T00:00:00Z'),
      },
    ]);
  });

  it('ends a statement that takes longer than it may', async () => {
    const url = await createPostgresDatabase();
    const postgres = connectPostgres(url, { statementTimeoutMs: 50 });
    const sleeping = postgres.pool.query('SELECT pg_sleep(20)');
    await expect(sleeping).rejects.toThrow('canceling statement due to statement timeout');
    await postgres.close();
  });
});

async function rowsOf(url: string, query: string): Promise<unknown[]> {
  const postgres = connectPostgres(url);
  try {
    return (await postgres.pool.query(query)).rows;
  } finally {
    await postgres.close();
  }
}
