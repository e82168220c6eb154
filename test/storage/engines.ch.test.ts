import { EventEmitter, once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { retry } from '../../src/lib/retry.ts';
import { connectClickHouse } from '../../src/storage/clickhouse/client.ts';
import { isEngineAway } from '../../src/storage/engine-away.ts';
import { startEngines } from '../../src/storage/engines.ts';
import { connectPostgres } from '../../src/storage/postgres/client.ts';

const dataDir = await mkdtemp(join(tmpdir(), 'meterd-engines-'));
/** Emits `left` with which engine has left, and why. */
const told = new EventEmitter();
const engines = await startEngines({
  dataDir,
  clickhouseUrl: undefined,
  databaseUrl: undefined,
  onLog: () => undefined,
  onLeft: (engine, why) => told.emit('left', engine, why.split('\n', 1)[0]),
});
const clickhouse = connectClickHouse({ url: engines.clickhouseUrl, database: 'default' });
const postgres = connectPostgres(engines.databaseUrl);
afterAll(async () => {
  await clickhouse.close();
  await postgres.close();
  await engines.stop();
  await rm(dataDir, { recursive: true, force: true });
});

/** Does `query` until it succeeds; what it throws until then has to say that the engine is away. */
async function untilBack<T>(query: () => Promise<T>): Promise<T> {
  const failures: unknown[] = [];
  const onRetry = (reason: unknown): void => void failures.push(reason);
  const result = await retry(query, { attemptsMax: 1_000, delayMs: 20, delayMsMax: 20, onRetry });
  expect(failures.filter((reason) => !isEngineAway(reason))).toEqual([]);
  return result;
}

it('starts a killed ClickHouse again where its clients look for it, with what was stored', async () => {
  await clickhouse.command({ query: 'CREATE TABLE kept (n UInt8) ENGINE = MergeTree ORDER BY n' });
  await clickhouse.command({ query: 'INSERT INTO kept VALUES (7)' });
  const status = await readFile(join(dataDir, 'clickhouse', 'data', 'status'), 'utf8');
  const left = once(told, 'left');
  process.kill(Number(/PID: (\d+)/.exec(status)?.[1]), 'SIGKILL');
  expect(await left).toEqual(['clickhouse', 'ClickHouse has left (SIGKILL)']);
  const rows = await untilBack(async () => {
    return (await clickhouse.query({ query: 'SELECT n FROM kept', format: 'JSONEachRow' })).json();
  });
  expect(rows).toEqual([{ n: 7 }]);
});

it('starts a killed PostgreSQL again where its clients look for it, with what was stored', async () => {
  await postgres.pool.query('CREATE TABLE kept AS SELECT 7 AS n');
  const pidFile = await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8');
  const left = once(told, 'left');
  process.kill(Number(pidFile.split('\n', 1)[0]), 'SIGKILL');
  // Its connections may live on for a moment.
  expect(await left).toEqual(['postgres', 'PostgreSQL has left (exit code 137)']);
  const { rows } = await untilBack(() => postgres.pool.query('SELECT n FROM kept'));
  expect(rows).toEqual([{ n: 7 }]);
});
