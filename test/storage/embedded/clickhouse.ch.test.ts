import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectClickHouse } from '../../../src/storage/clickhouse/client.ts';
import { startClickHouse } from '../../../src/storage/embedded/clickhouse.ts';
import { holdElsewhere, isRunning, untilGone } from './processes.ts';

let parent: string;
beforeAll(async () => {
  // Names that XML, SQL and shells read otherwise.
  parent = await mkdtemp(join(tmpdir(), "meterd it's <&> here, "));
});
afterAll(() => rm(parent, { recursive: true, force: true }));

const options = (folder: string) => ({ folder: join(parent, folder), readyTimeoutMs: 20_000, onLog: () => undefined });

describe('the embedded ClickHouse', () => {
  it('is gone with the process that started it, however that ended, and then has what was stored', async () => {
    const { folder } = options('killed');
    const holder = await holdElsewhere('clickhouse', folder);
    await command(holder.line, 'CREATE TABLE default.kept (n UInt8) ENGINE = MergeTree ORDER BY n');
    await command(holder.line, 'INSERT INTO default.kept VALUES (7)');
    const pid = await pidOf(folder);
    expect(await isRunning(pid)).toBe(true);
    await holder.kill();

    // At once: the one before is still about to leave.
    const engine = await startClickHouse(options('killed'));
    expect(await query(engine.url, 'SELECT n FROM default.kept')).toEqual([{ n: 7 }]);
    await untilGone(pid);
    await engine.stop();
  });

  it('waits for an earlier server to leave its folder', async () => {
    const first = await startClickHouse(options('busy'));
    const refused = Promise.withResolvers<void>();
    const onLog = (line: string): void => {
      if (line.includes('Cannot lock file')) refused.resolve();
    };
    const second = startClickHouse({ ...options('busy'), onLog });
    await refused.promise;
    await first.stop();
    await (await second).stop();

    const third = await startClickHouse(options('busy'));
    await expect(startClickHouse({ ...options('busy'), readyTimeoutMs: 300 })).rejects.toThrow(/busy is not ready/);
    await third.stop();
  });

  it('gives nobody anything without the password', async () => {
    const engine = await startClickHouse(options('password'));
    const url = new URL(engine.url);
    expect((await stat(join(options('password').folder, 'config.xml'))).mode & 0o077).toBe(0);
    url.password = 'guessed';
    await expect(query(url.href, 'SELECT 1')).rejects.toThrow(/Authentication failed/);
    url.username = 'default';
    url.password = '';
    for (const refused of ['CREATE DATABASE other', "SELECT * FROM file('config.xml', 'LineAsString')"]) {
      await expect(command(url.href, refused)).rejects.toThrow(/Not enough privileges/);
    }
    await engine.stop();
  });

  it('tells when it has left, and stops once or twice', async () => {
    const engine = await startClickHouse(options('leaves'));
    process.kill(await pidOf(options('leaves').folder), 'SIGKILL');
    expect(await engine.exited).toBe('ClickHouse has left (SIGKILL)');
    await engine.stop();
    await engine.stop();
  });

  it('keeps no system logs', async () => {
    const engine = await startClickHouse(options('logs'));
    await query(engine.url, 'SELECT 1 AS n');
    const growing = "SELECT name FROM system.tables WHERE database = 'system' AND engine LIKE '%MergeTree'";
    expect(await query(engine.url, growing)).toEqual([]);
    await engine.stop();
  });
});

async function command(url: string, statement: string): Promise<void> {
  const client = connectClickHouse({ url, database: 'default' });
  try {
    await client.command({ query: statement });
  } finally {
    await client.close();
  }
}

async function query(url: string, statement: string): Promise<unknown> {
  const client = connectClickHouse({ url, database: 'default' });
  try {
    return await (await client.query({ query: statement, format: 'JSONEachRow' })).json();
  } finally {
    await client.close();
  }
}

async function pidOf(folder: string): Promise<number> {
  const status = await readFile(join(folder, 'data', 'status'), 'utf8');
  return Number(/PID: (\d+)/.exec(status)?.[1]);
}
