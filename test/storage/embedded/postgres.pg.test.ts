import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPostgres } from '../../../src/storage/embedded/postgres.ts';
import { holdElsewhere, isRunning, untilGone } from './processes.ts';

let parent: string;
beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), "meterd it's & here "));
  // Nobody but its owner, root where the tests run as root, may go through here.
  await chmod(parent, 0o700);
});
afterAll(() => rm(parent, { recursive: true, force: true }));

const options = (folder: string) => ({ folder: join(parent, folder), readyTimeoutMs: 20_000, onLog: () => undefined });

describe('the embedded PostgreSQL', () => {
  it('is gone with the process that started it, however that ended, and then has what was stored', async () => {
    const { folder } = options('killed');
    const holder = await holdElsewhere('postgres', folder);
    await query(holder.line, 'CREATE TABLE kept AS SELECT 7 AS n');
    const pid = await pidOf(folder);
    expect(await isRunning(pid)).toBe(true);
    await holder.kill();

    // At once: the one before is still about to leave.
    const engine = await startPostgres(options('killed'));
    expect(await query(engine.url, 'SELECT n FROM kept')).toEqual([{ n: 7 }]);
    await untilGone(pid);
    await engine.stop();
  });

  it('comes back after it was killed itself, whoever has its process id since', async () => {
    const { folder } = options('crashed');
    const engine = await startPostgres(options('crashed'));
    await query(engine.url, 'CREATE TABLE kept AS SELECT 7 AS n');
    const pidFile = await readFile(join(folder, 'postmaster.pid'), 'utf8');
    process.kill(await pidOf(folder), 'SIGKILL');
    expect(await engine.exited).toMatch(/^PostgreSQL has left \(exit code 137\)/);
    await engine.stop();

    // Of the same user, so that PostgreSQL itself would take it for the server that the file means.
    const other = await startPostgres(options('other'));
    const pid = String(await pidOf(options('other').folder));
    await writeFile(join(folder, 'postmaster.pid'), pidFile.replace(/^\d+/, pid));
    const again = await startPostgres(options('crashed'));
    expect(await query(again.url, 'SELECT n FROM kept')).toEqual([{ n: 7 }]);
    await again.stop();
    await other.stop();
  });

  it('does not take a server of the same folder for a leftover', async () => {
    const engine = await startPostgres(options('busy'));
    const second = startPostgres({ ...options('busy'), readyTimeoutMs: 300 });
    await expect(second).rejects.toThrow(/busy is not ready/);
    expect(await query(engine.url, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
    await engine.stop();
  });

  it('begins anew where the first start was cut short', async () => {
    const { folder } = options('cut-short');
    // What a killed initdb leaves: some of it, under the other name.
    await mkdir(join(`${folder}.new`, 'base'), { recursive: true });
    await writeFile(join(`${folder}.new`, 'PG_VERSION'), '18\n');

    const engine = await startPostgres(options('cut-short'));
    expect(await query(engine.url, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
    await expect(stat(`${folder}.new`)).rejects.toThrow('ENOENT');
    await engine.stop();
  });

  it('takes a folder whose path is too long for a socket, and leaves nothing of it behind', async () => {
    const engine = await startPostgres(options('long'.repeat(30)));
    const socketFolder = new URL(engine.url).searchParams.get('host') ?? '';
    expect((await stat(socketFolder)).mode & 0o077).toBe(0);
    expect(await query(engine.url, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
    await engine.stop();
    await expect(stat(socketFolder)).rejects.toThrow('ENOENT');
  });

  it('listens on no network, writes through to the disk, and is set to UTC', async () => {
    const engine = await startPostgres(options('settings'));
    const settings = `SELECT current_setting('listen_addresses') AS listen, current_setting('fsync') AS fsync,
      current_setting('timezone') AS zone, current_setting('server_encoding') AS encoding`;
    expect(await query(engine.url, settings)).toEqual([{ listen: '', fsync: 'on', zone: 'UTC', encoding: 'UTF8' }]);
    expect((await stat(options('settings').folder)).mode & 0o077).toBe(0);
    await engine.stop();
    await engine.stop();
  });
});

async function query(url: string, statement: string): Promise<unknown> {
  const client = new Client({ connectionString: url });
  // The server may be killed in between, which is not this connection's fault.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}

async function pidOf(folder: string): Promise<number> {
  return Number((await readFile(join(folder, 'postmaster.pid'), 'utf8')).split('\n')[0]);
}
