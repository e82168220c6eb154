import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { appendAudit, listAudit } from '../../src/audit/trail.ts';
import { type BackupRequest, createBackup } from '../../src/backup/create-backup.ts';
import { readManifest } from '../../src/backup/manifest.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { clickHouseForTest, postgresForTest } from '../database.ts';
import { folderForTest } from '../meterd.ts';

const clickhouse = await clickHouseForTest();
const postgres = await postgresForTest();
const dataDir = await folderForTest();
const store = {
  ...postgres,
  clickhouseUrl: clickhouse.url,
  clock: systemClock,
  dataDir,
  settle: async () => undefined,
};

const entry = { at: new Date(0), actor: 'key', action: 'test', subject: 's', detail: {} };
await postgres.db.transaction().execute((transaction) => appendAudit(transaction, entry));
// One of a record that the trail has, and one of a record that it gets after the backup's moment.
const values = [1, 2].map((sequence) => ({ sequence, hash: 'x'.repeat(32), anchored_at: '2026-09-01T00:00:00Z' }));
await clickhouse.client.insert({ table: 'audit_anchors', values, format: 'JSONEachRow' });

function request(name: string, changes: Partial<BackupRequest> = {}): BackupRequest {
  const { signal } = new AbortController();
  return { folder: join(dataDir, name), actor: 'key', onProgress: () => undefined, signal, ...changes };
}

async function frozenTables(): Promise<unknown[]> {
  const query = `SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE 'backup%'`;
  return (await clickhouse.client.query({ query, format: 'JSONEachRow' })).json();
}

it('is removed where its caller leaves, and the next one begins anew', async () => {
  const leaving = new AbortController();
  const left = request('left', {
    signal: leaving.signal,
    onProgress: () => leaving.abort(new Error('the caller has left')),
  });
  await expect(createBackup(store, left)).rejects.toThrow('aborted');
  expect([await readdir(left.folder), await frozenTables()]).toEqual([[], []]);
  expect(await listAudit(postgres.db, { actionPrefix: 'backup.' }, 10)).toEqual([]);
  const { manifestHash } = await createBackup(store, request('left'));
  expect(await frozenTables()).toEqual([]);
  expect(await listAudit(postgres.db, { actionPrefix: 'backup.' }, 10)).toMatchObject([
    { subject: left.folder, detail: expect.stringContaining(manifestHash) },
  ]);
});

it('leaves out the anchors of records that it does not have', async () => {
  const made = request('anchors');
  await createBackup(store, made);
  const { auditHead, clickhouse: tables } = await readManifest(made.folder);
  // The record of the backup before is the second.
  expect(auditHead.sequence).toBe('2');
  expect(tables.files.filter(({ table }) => table === 'audit_anchors')).toMatchObject([{ rows: 2 }]);
  const first = await readManifest(join(dataDir, 'left'));
  expect(first.auditHead.sequence).toBe('1');
  expect(first.clickhouse.files.filter(({ table }) => table === 'audit_anchors')).toMatchObject([{ rows: 1 }]);
});

it('is one at a time', async () => {
  let second = '';
  const settle = async (): Promise<void> => {
    second = await createBackup(store, request('second')).then(() => 'made', String);
  };
  await createBackup({ ...store, settle }, request('first'));
  expect(second).toContain('a backup is running already');
  expect(await readdir(dataDir)).not.toContain('second');
});
