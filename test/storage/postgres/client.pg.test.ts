import { sql } from 'kysely';
import { expect, it } from 'vitest';
import { connectPostgres } from '../../../src/storage/postgres/client.ts';
import { postgresForTest } from '../../database.ts';

const { db, url } = await postgresForTest();

it('fails the transaction whose connection breaks between its statements, and nothing else', async () => {
  const broken = db.transaction().execute(async (transaction) => {
    const { rows } = await sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`.execute(transaction);
    await sql`SELECT pg_terminate_backend(${rows[0]?.pid}, 10000)`.execute(db);
    await sql`SELECT 1`.execute(transaction);
  });
  await expect(broken).rejects.toThrow(/terminat|EPIPE|ECONNRESET|not queryable/);
  const { rows } = await sql<{ one: number }>`SELECT 1 AS one`.execute(db);
  expect(rows).toEqual([{ one: 1 }]);
});

it.each(['pool', 'db'] as const)('closes the connections that were opened through its %s', async (way) => {
  const postgres = connectPostgres(url, { connectionsMax: 1 });
  const pidSql = 'SELECT pg_backend_pid() AS pid';
  const asked =
    way === 'pool' ? postgres.pool.query(pidSql) : sql<{ pid: number }>`${sql.raw(pidSql)}`.execute(postgres.db);
  const { rows } = await asked;
  await postgres.close();
  expect(postgres.pool.totalCount).toBe(0);
  expect(rows).toHaveLength(1);
});
