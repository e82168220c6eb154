import { sql } from 'kysely';
import { expect, it, onTestFinished } from 'vitest';
import type { CircuitChange } from '../../../src/lib/circuit-breaker.ts';
import { tryAdvisoryLock } from '../../../src/storage/postgres/advisory-lock.ts';
import { connectPostgres, type PostgresLimits } from '../../../src/storage/postgres/client.ts';
import { customerReads } from '../../../src/storage/postgres/customer-reads.ts';
import { isEngineAway } from '../../../src/storage/engine-away.ts';
import { postgresForTest } from '../../database.ts';
import { PostgresProxy } from './postgres-proxy.ts';

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

/** A connected Postgres behind a proxy, with what its circuit did. */
async function throughProxy(limits: PostgresLimits) {
  const proxy = new PostgresProxy(url);
  const circuits: CircuitChange['circuit']['name'][] = [];
  const onCircuit = ({ circuit }: CircuitChange) => void circuits.push(circuit.name);
  const postgres = connectPostgres(await proxy.open(), { ...limits, onCircuit, onIdleError: () => undefined });
  onTestFinished(async () => {
    await proxy.close();
    await postgres.close();
  });
  const ask = async (): Promise<unknown> => (await sql`SELECT 1 AS one`.execute(postgres.db)).rows;
  return { proxy, postgres, circuits, ask };
}

const thrown = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'nothing',
    (reason: unknown) => reason,
  );

it('asks no Postgres that is away, for customers neither, and goes on when it is back', async () => {
  const { proxy, postgres, circuits, ask } = await throughProxy({});
  expect(await ask()).toEqual([{ one: 1 }]);
  await proxy.close();
  await expect.poll(() => postgres.pool.totalCount).toBe(0);
  for (const _ of [1, 2, 3]) expect(isEngineAway(await thrown(ask()))).toBe(true);
  expect(circuits).toEqual(['open']);
  expect(await thrown(ask())).toMatchObject({ kind: 'unavailable', message: expect.stringContaining('PostgreSQL') });
  const ofCustomer = customerReads(postgres.guarded, 'customer');
  expect(await thrown(sql`SELECT 1`.execute(ofCustomer))).toMatchObject({ kind: 'unavailable' });
  await proxy.open();
  await expect.poll(() => thrown(ask()), { timeout: 20_000 }).toBe('nothing');
  expect(circuits.at(-1)).toBe('closed');
});

it('takes no error of a statement, and no pool that is in use, for a Postgres that is away', async () => {
  const { postgres, circuits } = await throughProxy({ connectionsMax: 1 });
  for (const _ of [1, 2, 3]) await expect(sql`SELECT 1 / 0`.execute(postgres.db)).rejects.toThrow('division by zero');
  const free = Promise.withResolvers<void>();
  const using = postgres.db.connection().execute(() => free.promise);
  const waiting = [1, 2, 3].map(() => thrown(sql`SELECT 1`.execute(postgres.db)));
  expect(await Promise.all(waiting)).toEqual(waiting.map(() => new Error('timeout exceeded when trying to connect')));
  free.resolve();
  await using;
  expect(circuits).toEqual([]);
});

it('waits no longer for an answer than a statement may run, and uses no connection again that owes one', async () => {
  const { proxy, postgres, ask } = await throughProxy({ connectionsMax: 2, statementTimeoutMs: 100 });
  expect(await ask()).toEqual([{ one: 1 }]);
  const begun = Promise.withResolvers<void>();
  const hung = Promise.withResolvers<void>();
  const inTransaction = postgres.db.transaction().execute(async (transaction) => {
    begun.resolve();
    await hung.promise;
    await sql`SELECT 1`.execute(transaction);
  });
  await begun.promise;
  proxy.isHung = true;
  hung.resolve();
  const [alone, together] = await Promise.all([thrown(ask()), thrown(inTransaction)]);
  expect([isEngineAway(alone), isEngineAway(together)]).toEqual([true, true]);
  await expect.poll(() => postgres.pool.totalCount).toBe(0);
  proxy.isHung = false;
  await expect.poll(ask, { timeout: 20_000 }).toEqual([{ one: 1 }]);
});

it('lets go of a lock that a hung Postgres does not take back', async () => {
  const { proxy, postgres } = await throughProxy({});
  const locked = tryAdvisoryLock(postgres.pool, 'hung', async () => void (proxy.isHung = true));
  expect(await thrown(locked)).toBe('nothing');
});
