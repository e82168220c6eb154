import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseCredential } from '../../src/access/credential.ts';
import { ensureFirstKey } from '../../src/access/first-key.ts';
import type { KeyRequest } from '../../src/access/key.ts';
import { KeyStore } from '../../src/access/key-store.ts';
import { KnownKeys } from '../../src/access/known-keys.ts';
import { listAudit } from '../../src/audit/trail.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { postgresForTest } from '../database.ts';

const { db } = await postgresForTest();
const store = new KeyStore(db, systemClock);
const collector: KeyRequest = { name: 'host', role: 'collector', regions: ['a'], customerIds: [], backfill: true };

describe('KeyStore', () => {
  it('makes one first key, whatever starts at once, and leaves it where only its owner reads it', async () => {
    const folders = await Promise.all([1, 2, 3].map(() => mkdtemp(join(tmpdir(), 'meterd-keys-'))));
    const made = await Promise.all(folders.map((folder) => ensureFirstKey(store, folder)));
    const [path, ...others] = made.filter((each) => each !== undefined);
    if (path === undefined) throw new Error('no first key was made');
    expect(others).toEqual([]);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const known = new KnownKeys(store, systemClock);
    await known.refresh();
    const text = (await readFile(path, 'utf8')).trim();
    expect(await known.authenticate(`Bearer ${text}`)).toMatchObject({ role: 'admin' });
    expect(await ensureFirstKey(store, folders[0] ?? '')).toBeUndefined();
    for (const folder of folders) await rm(folder, { recursive: true });
  });

  it('stores no secret, and audits that a key was made and revoked', async () => {
    const { key, credential } = await store.create(collector, 'somebody');
    const tables = await db.selectFrom('api_keys').selectAll().execute();
    const records = await listAudit(db, undefined, 1000);
    expect(JSON.stringify([tables, records], (_, value: unknown) => value?.toString())).not.toContain(
      credential?.secret,
    );
    expect(credential?.secret).toHaveLength(64);
    expect(tables.find((row) => row.id === key.keyId)?.secret_hash).toHaveLength(32);

    expect((await store.revoke(key.keyId, 'somebody else')).revokedAt).toBeInstanceOf(Date);
    await store.revoke(key.keyId, 'a third');
    const trail = (await listAudit(db, undefined, 1000)).filter(({ subject }) => subject === key.keyId);
    expect(trail.map(({ action, actor }) => [action, actor])).toEqual([
      ['key.revoked', 'somebody else'],
      ['key.created', 'somebody'],
    ]);
    expect(await store.find(key.keyId)).toBeUndefined();
    expect((await store.active()).map((each) => each.keyId)).not.toContain(key.keyId);
  });

  it('does not know how to revoke a key that is not there', async () => {
    await expect(store.revoke('0000000000000000', 'x')).rejects.toMatchObject({ kind: 'not_found' });
  });

  it('lists all keys by id, page by page', async () => {
    for (let i = 0; i < 3; i++) await store.create(collector, 'x');
    const all = (await store.list('', 1000)).map((key) => key.keyId);
    expect(all).toEqual(all.toSorted());
    const [first, second] = [await store.list('', 2), await store.list(all[1] ?? '', 1000)];
    expect([...first, ...second].map((key) => key.keyId)).toEqual(all);
  });

  const wrong: [string, Partial<KeyRequest>, string][] = [
    ['a name of blanks', { name: ' ' }, 'name'],
    ['a collector without regions', { regions: [] }, 'regions'],
    ['an empty region', { regions: ['a', ''] }, 'regions'],
    ['a customer key of nobody', { role: 'customer', regions: [], backfill: false }, 'customer_ids'],
    [
      'a customer key of two',
      { role: 'customer', regions: [], backfill: false, customerIds: ['a', 'b'] },
      'customer_ids',
    ],
    ['an operator with regions', { role: 'operator', backfill: false }, 'regions'],
    ['counters of billaged.v1 from any region', { regions: ['*'], billagedCounters: 'delta' }, 'billaged_counters'],
    ['an admin that backfills', { role: 'admin', regions: [] }, 'backfill'],
    [
      'an operator with a certificate',
      { role: 'operator', regions: [], backfill: false, spiffeId: 'spiffe://cloud.example/host/1' },
      'spiffe_id',
    ],
    ['a certificate of anybody', { spiffeId: 'spiffe://cloud.example/*' }, 'spiffe_id'],
    [
      'an operator of one customer',
      { role: 'operator', regions: [], backfill: false, customerIds: ['a'] },
      'customer_ids',
    ],
  ];
  it.each(wrong)('refuses %s', async (_, change, field) => {
    const refused = store.create({ ...collector, ...change }, 'x');
    await expect(refused).rejects.toMatchObject({ kind: 'invalid_argument', field });
  });

  it('gives hosts with a certificate no secret, and their id to one key that works', async () => {
    const request = { ...collector, spiffeId: 'spiffe://cloud.example/host/1' };
    const { key, credential } = await store.create(request, 'somebody');
    expect([key.spiffeId, credential]).toEqual([request.spiffeId, undefined]);
    expect(await store.findHost(request.spiffeId)).toMatchObject({ keyId: key.keyId, secretHash: undefined });
    const second = store.create(request, 'somebody');
    await expect(second).rejects.toMatchObject({ kind: 'already_exists', field: 'spiffe_id' });
    await store.revoke(key.keyId, 'somebody');
    expect(await store.findHost(request.spiffeId)).toBeUndefined();
    expect((await store.create(request, 'somebody')).key.keyId).not.toBe(key.keyId);
  });

  it('gives each key its own id and secret', async () => {
    const made = await Promise.all([1, 2, 3].map(() => store.create(collector, 'x')));
    expect(new Set(made.map(({ credential }) => credential?.secret)).size).toBe(3);
    expect(parseCredential('meterd_0_0')).toBeUndefined();
  });
});
