import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { NotAuthentic } from '../../../src/access/secrets/aead.ts';
import type { KeyProvider } from '../../../src/access/secrets/key-provider.ts';
import { LocalKeys } from '../../../src/access/secrets/local-keys.ts';
import type { SecretId } from '../../../src/access/secrets/sealed-secret.ts';
import { eraseSecretsOf, hasSecrets, SecretStore } from '../../../src/access/secrets/secret-store.ts';
import { listAudit } from '../../../src/audit/trail.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { postgresForTest } from '../../database.ts';

const { db } = await postgresForTest();
const folder = await mkdtemp(join(tmpdir(), 'meterd-secrets-'));
afterAll(() => rm(folder, { recursive: true, force: true }));
const keys = await LocalKeys.open(join(folder, 'keys'), async () => !(await hasSecrets(db, 'file')));
const store = new SecretStore(db, keys, systemClock);
const signal = new AbortController().signal;

async function readText(id: SecretId): Promise<string> {
  return (await store.read(id)).toString();
}

/** All that PostgreSQL has of secrets, and the audit trail. */
async function storedText(): Promise<string> {
  const rows = await db.selectFrom('secrets').selectAll().execute();
  const bytes = rows.flatMap((row) => [row.ciphertext, row.wrapped_key].map((each) => each.toString('latin1')));
  return JSON.stringify([rows, bytes, await listAudit(db, undefined, 1000)], (_, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  );
}

describe('SecretStore', () => {
  it('gives back what was put last, to who asks for the same customer and name, and stores no plaintext', async () => {
    const [own, acmes] = [
      { customerId: '', name: 'smtp' },
      { customerId: 'acme', name: 'smtp' },
    ];
    await store.put(own, Buffer.from('canary-1'), 'a');
    await store.put(acmes, Buffer.from('canary-2'), 'a');
    const put = await store.put(own, Buffer.from('canary-3'), 'b');
    expect(put).toMatchObject({ ...own, putBy: 'b', wrappingKeyId: await keys.newestId() });
    expect([await readText(own), await readText(acmes)]).toEqual(['canary-3', 'canary-2']);
    expect(await storedText()).not.toContain('canary');
    const trail = (await listAudit(db, { subject: 'smtp' }, 10)).map(({ action, actor, detail }) => [
      action,
      actor,
      detail,
    ]);
    expect(trail).toEqual([
      ['secret.put', 'b', '{"customer_id":""}'],
      ['secret.put', 'a', '{"customer_id":"acme"}'],
      ['secret.put', 'a', '{"customer_id":""}'],
    ]);
  });

  it('refuses what was moved from another secret, whole or in part', async () => {
    const [here, there] = [
      { customerId: 'moved', name: 'x' },
      { customerId: 'moved', name: 'y' },
    ];
    await store.put(here, Buffer.from('x'), 'a');
    await store.put(there, Buffer.from('y'), 'a');
    const from = await db.selectFrom('secrets').selectAll().where('name', '=', 'y').executeTakeFirstOrThrow();
    const { ciphertext, wrapped_key } = from;
    const before = await db.selectFrom('secrets').selectAll().where('name', '=', 'x').executeTakeFirstOrThrow();
    for (const moved of [{ ciphertext }, { wrapped_key }, { ciphertext, wrapped_key }]) {
      await db.updateTable('secrets').set(moved).where('name', '=', 'x').execute();
      await expect(store.read(here)).rejects.toThrow(NotAuthentic);
      const { ciphertext: c, wrapped_key: w } = before;
      await db.updateTable('secrets').set({ ciphertext: c, wrapped_key: w }).where('name', '=', 'x').execute();
    }
    expect(await readText(here)).toBe('x');
  });

  it('wraps all with a new key while they are read and put, and leaves and names those that do not open', async () => {
    const ids = Array.from({ length: 250 }, (_, i) => ({ customerId: 'many', name: `n${String(i).padStart(3, '0')}` }));
    for (const id of ids) await store.put(id, Buffer.from(id.name), 'a');
    const broken = { customerId: 'many', name: 'n100' };
    await db
      .updateTable('secrets')
      .set({ wrapped_key: Buffer.alloc(60) })
      .where('name', '=', broken.name)
      .execute();
    const before = await keys.newestId();
    const over = new AbortController();
    const reading = (async () => {
      let reads = 0;
      for (; !over.signal.aborted; reads++) {
        const id = ids[reads % 100] ?? broken;
        expect(await readText(id)).toBe(id.name);
      }
      return reads;
    })();
    const rotation = await store.rotate(true, 'rotator', signal);
    over.abort();
    expect(await reading).toBeGreaterThan(0);
    expect(rotation.wrappingKeyId).not.toBe(before);
    expect(rotation.failed).toEqual([expect.objectContaining(broken)]);
    const old = await db.selectFrom('secrets').select('name').where('wrapping_key_id', '=', before).execute();
    expect(old).toEqual([{ name: 'n100' }]);
    for (const id of ids) if (id.name !== broken.name) expect(await readText(id)).toBe(id.name);
    const [last] = await listAudit(db, { actionPrefix: 'secret.rewrapped' }, 1);
    expect(last).toMatchObject({ actor: 'rotator', subject: rotation.wrappingKeyId });
    expect(await store.rotate(false, 'rotator', signal)).toMatchObject({ rewrapped: 0, failed: [broken] });
  });

  it('rotates without a lock, and leaves what is put or deleted meanwhile', async () => {
    const [put, deleted, kept] = ['put', 'deleted', 'kept'].map((name) => ({ customerId: 'meanwhile', name }));
    if (put === undefined || deleted === undefined || kept === undefined) throw new Error('three are needed');
    for (const id of [put, deleted, kept]) await store.put(id, Buffer.from('before'), 'a');
    let opened = 0;
    const watched: KeyProvider = {
      newestId: () => keys.newestId(),
      wrap: (dataKey, binding) => keys.wrap(dataKey, binding),
      addKey: () => keys.addKey(),
      unwrap: async (wrapped, binding) => {
        const dataKey = await keys.unwrap(wrapped, binding);
        if (Buffer.from(binding).includes('meanwhile') && ++opened === 3) {
          await store.put(put, Buffer.from('after'), 'b');
          await store.delete(deleted, 'b');
        }
        return dataKey;
      },
    };
    const { wrappingKeyId } = await new SecretStore(db, watched, systemClock).rotate(true, 'rotator', signal);
    expect(opened).toBe(3);
    expect([await readText(put), await readText(kept)]).toEqual(['after', 'before']);
    await expect(store.read(deleted)).rejects.toMatchObject({ kind: 'not_found' });
    const rows = (await store.list({ customerId: 'meanwhile', name: '' }, 2)).map((row) => row.wrappingKeyId);
    expect(rows).toEqual([wrappingKeyId, wrappingKeyId]);
  });

  it('lists by customer and name, page by page, and deletes once', async () => {
    const all = await store.list({ customerId: '', name: '' }, 1000);
    const first = await store.list({ customerId: '', name: '' }, 2);
    const rest = await store.list(first[1] ?? { customerId: '', name: '' }, 1000);
    expect([...first, ...rest]).toEqual(all);
    expect(JSON.stringify(all)).not.toContain('ciphertext');
    const id = { customerId: 'acme', name: 'smtp' };
    await store.delete(id, 'a');
    await expect(store.delete(id, 'a')).rejects.toMatchObject({ kind: 'not_found' });
    await expect(store.read(id)).rejects.toMatchObject({ kind: 'not_found' });
  });

  it('goes with its customer, and with no other', async () => {
    await store.put({ customerId: 'gone', name: 'x' }, Buffer.from('x'), 'a');
    expect(await db.transaction().execute((transaction) => eraseSecretsOf(transaction, 'gone'))).toBe(1);
    await expect(store.read({ customerId: 'gone', name: 'x' })).rejects.toMatchObject({ kind: 'not_found' });
    expect(await readText({ customerId: '', name: 'smtp' })).toBe('canary-3');
  });

  it('takes values and names within their bounds, and a thousand of a customer', async () => {
    const id = { customerId: 'full', name: 'x' };
    await store.put(id, Buffer.alloc(65_536), 'a');
    await expect(store.put(id, Buffer.alloc(65_537), 'a')).rejects.toMatchObject({ field: 'value' });
    await expect(store.put(id, Buffer.alloc(0), 'a')).rejects.toMatchObject({ field: 'value' });
    await expect(store.put({ ...id, name: 'a\0b' }, Buffer.from('x'), 'a')).rejects.toMatchObject({ field: 'name' });
    const row = await db.selectFrom('secrets').selectAll().where('customer_id', '=', 'full').executeTakeFirstOrThrow();
    const others = Array.from({ length: 999 }, (_, i) => ({ ...row, name: `y${i}` }));
    await db.insertInto('secrets').values(others).execute();
    await store.put(id, Buffer.from('again'), 'a');
    await expect(store.put({ ...id, name: 'z' }, Buffer.from('x'), 'a')).rejects.toMatchObject({
      kind: 'failed_precondition',
    });
  });
});
