import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { KeyProvider } from '../../../src/access/secrets/key-provider.ts';
import { LocalKeys } from '../../../src/access/secrets/local-keys.ts';
import { openKeys } from '../../../src/access/secrets/open-keys.ts';
import { seal, type SecretId } from '../../../src/access/secrets/sealed-secret.ts';
import { SecretStore } from '../../../src/access/secrets/secret-store.ts';
import { listAudit } from '../../../src/audit/trail.ts';
import type { CircuitChange } from '../../../src/lib/circuit-breaker.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { retry } from '../../../src/lib/retry.ts';
import { postgresForTest } from '../../database.ts';
import { KmsPlugin } from './kms-plugin.ts';

const { db } = await postgresForTest();
const folder = await mkdtemp(join(tmpdir(), 'meterd-kms-'));
const plugin = new KmsPlugin(join(folder, 'kms.sock'));
await plugin.start();
const filePath = join(folder, 'keys');
const kms = await open(plugin.socketPath);
afterAll(async () => {
  await kms.close();
  await plugin.kill();
  await rm(folder, { recursive: true, force: true });
});
const signal = new AbortController().signal;
const ids = Array.from({ length: 120 }, (_, i) => ({ customerId: 'acme', name: `n${String(i).padStart(3, '0')}` }));

beforeEach(async () => {
  await db.deleteFrom('secrets').execute();
  plugin.onEncrypt = (encrypted) => encrypted;
  plugin.onStatus = (status) => status;
});

async function open(kmsSocketPath: string | undefined) {
  const { keys, close } = await openKeys(db, { filePath, kmsSocketPath, onKmsCircuit: () => undefined });
  return { keys, store: new SecretStore(db, keys, systemClock), close };
}

/** All at once: a put of each would take most of the time. */
async function putAll(keys: KeyProvider): Promise<void> {
  const rows = ids.map(async (id) => {
    const { ciphertext, dataKey } = await seal(keys, id, Buffer.from(`canary-${id.name}`));
    return {
      customer_id: id.customerId,
      name: id.name,
      ciphertext: Buffer.from(ciphertext),
      wrapped_key: Buffer.from(dataKey.bytes),
      wrapping_key_id: dataKey.wrappingKeyId,
      put_at: new Date(),
      put_by: 'a',
    };
  });
  await db
    .insertInto('secrets')
    .values(await Promise.all(rows))
    .execute();
}

async function expectAllRead(store: SecretStore, but: readonly SecretId[] = []): Promise<void> {
  for (const id of ids) if (!but.includes(id)) expect((await store.read(id)).toString()).toBe(`canary-${id.name}`);
}

/** How many secrets each key wraps. */
async function wrapped(): Promise<Record<string, number>> {
  const rows = await db.selectFrom('secrets').select('wrapping_key_id').execute();
  return Object.fromEntries([...Map.groupBy(rows, (row) => row.wrapping_key_id)].map(([id, of]) => [id, of.length]));
}

describe('a rotation to a KMS', () => {
  it('takes over what keys of a file wrapped, which are then no longer needed', async () => {
    const file = await open(undefined);
    await putAll(file.keys);
    const [own] = Object.keys(await wrapped());
    await expectAllRead(kms.store);
    expect(await kms.store.rotate(false, 'rotator', signal)).toEqual({
      wrappingKeyId: `kms:${plugin.newestId}`,
      rewrapped: ids.length,
      failed: [],
    });
    expect(await wrapped()).toEqual({ [`kms:${plugin.newestId}`]: ids.length });
    await rm(filePath);
    await expectAllRead(kms.store);
    expect(own).toMatch(/^[0-9a-f]{16}$/);
    expect(plugin.seen.some((given) => Buffer.from(given).includes('canary'))).toBe(false);
    // Without the setting a new file would be made, and would open none of these.
    await expect(open(undefined)).rejects.toThrow('METERD_SECRET_KMS is not set');
  });

  it('is not begun where the file is missing that opens what is there', async () => {
    await LocalKeys.open(filePath, async () => true);
    const file = await open(undefined);
    await file.store.put({ customerId: '', name: 'smtp' }, Buffer.from('x'), 'a');
    await (await open(plugin.socketPath)).close();
    await rm(filePath);
    await expect(open(plugin.socketPath)).rejects.toThrow('put it back');
  });

  it('ends with all under the key that is the newest then, where that changes meanwhile', async () => {
    await putAll(kms.keys);
    const before = plugin.newestId;
    plugin.rotate();
    let left = 70;
    plugin.onEncrypt = (encrypted) => {
      if (--left === 0) plugin.rotate();
      return encrypted;
    };
    const rotation = await kms.store.rotate(false, 'rotator', signal);
    expect(rotation).toEqual({ wrappingKeyId: `kms:${plugin.newestId}`, rewrapped: ids.length, failed: [] });
    expect(await wrapped()).toEqual({ [rotation.wrappingKeyId]: ids.length });
    expect(rotation.wrappingKeyId).not.toBe(`kms:${before}`);
    await expectAllRead(kms.store);
    // Each write is in the trail, with the key that it was for.
    const trail = await listAudit(db, { actionPrefix: 'secret.rewrapped' }, 4);
    const told = trail.map(({ subject, detail }) => [subject, JSON.parse(detail).rewrapped]).toReversed();
    const [second, third] = [`kms:arn:test:key/2`, `kms:arn:test:key/3`];
    expect(told.slice(-4)).toEqual([
      [second, 70],
      [third, 30],
      [third, 20],
      [third, 70],
    ]);
  });

  it('says so where the KMS encrypts under another key than it names', async () => {
    await putAll(kms.keys);
    const named = `${plugin.newestId}-announced`;
    plugin.onStatus = (status) => ({ ...status, keyId: named });
    await expect(kms.store.rotate(false, 'rotator', signal)).rejects.toMatchObject({ kind: 'unavailable' });
    await expectAllRead(kms.store);
    plugin.onStatus = (status) => status;
    expect(await kms.store.rotate(false, 'rotator', signal)).toMatchObject({ rewrapped: 0, failed: [] });
  });

  it('names what the KMS does not open, and goes on behind a KMS that was away', async () => {
    await putAll(kms.keys);
    const broken = ids.slice(40, 42);
    for (const { name } of broken) {
      await db
        .updateTable('secrets')
        .set({ wrapped_key: Buffer.from('0a0100', 'hex') })
        .where('name', '=', name)
        .execute();
    }
    plugin.rotate();
    let left = 110;
    plugin.onEncrypt = (encrypted) => {
      if (--left === 0) void plugin.kill();
      return encrypted;
    };
    await expect(kms.store.rotate(false, 'rotator', signal)).rejects.toMatchObject({ kind: 'unavailable' });
    await plugin.kill();
    await plugin.start();
    const rotation = await retry(() => kms.store.rotate(false, 'rotator', signal), {
      attemptsMax: 200,
      delayMs: 50,
      delayMsMax: 50,
    });
    // The first hundred, but for two, were stored before.
    expect(rotation).toEqual({ wrappingKeyId: `kms:${plugin.newestId}`, rewrapped: 20, failed: broken });
    await expectAllRead(kms.store, broken);
  });

  it('makes no key', async () => {
    await expect(kms.store.rotate(true, 'rotator', signal)).rejects.toMatchObject({
      kind: 'failed_precondition',
      field: 'new_key',
    });
  });
});

describe('a KMS', () => {
  it('is looked after while nobody needs it', async () => {
    const told = Promise.withResolvers<void>();
    const back = Promise.withResolvers<void>();
    const onKmsCircuit = ({ circuit }: CircuitChange): void => {
      if (circuit.name === 'open') told.resolve();
      if (circuit.name === 'closed') back.resolve();
    };
    await plugin.kill();
    const { close } = await openKeys(db, { filePath, kmsSocketPath: plugin.socketPath, onKmsCircuit, kmsLookMs: 20 });
    await told.promise;
    await plugin.start();
    await back.promise;
    await close();
  });
});
