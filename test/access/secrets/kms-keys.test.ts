import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { fromBinary, toBinary, toJson } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { KmsWrappedKeySchema } from '../../../gen/meterd/internal/v1/kms_wrapped_key_pb.ts';
import { NotAuthentic } from '../../../src/access/secrets/aead.ts';
import type { WrappedKey } from '../../../src/access/secrets/key-provider.ts';
import { KmsClient } from '../../../src/access/secrets/kms-client.ts';
import { KmsKeys } from '../../../src/access/secrets/kms-keys.ts';
import { seal, unseal } from '../../../src/access/secrets/sealed-secret.ts';
import type { CircuitChange } from '../../../src/lib/circuit-breaker.ts';
import { messageOf } from '../../../src/lib/failure.ts';
import { retry } from '../../../src/lib/retry.ts';
import { KmsPlugin } from './kms-plugin.ts';

const folder = await mkdtemp(join(tmpdir(), 'meterd-kms-'));
const closing: (() => unknown)[] = [() => rm(folder, { recursive: true, force: true })];
afterAll(async () => {
  for (const close of closing.toReversed()) await close();
});
const binding = Buffer.from('here');
const dataKey = Buffer.alloc(32, 7);
const noFile = { unwrap: () => Promise.reject(new Error('no file has it')) };
const unavailable = { name: 'NotNow', kind: 'unavailable' };
let count = 0;

/** A plugin that runs, and what meterd has before it. */
async function aKms({ timeoutMs = 20_000 } = {}) {
  const plugin = new KmsPlugin(join(folder, `${count++}.sock`));
  await plugin.start();
  const changes: CircuitChange[] = [];
  const onCircuit = (change: CircuitChange): unknown => changes.push(change);
  const client = new KmsClient({ socketPath: plugin.socketPath, onCircuit, timeoutMs });
  closing.push(
    () => plugin.kill(),
    () => client.close(),
  );
  /** Why the circuit was opened last, as the log has it. */
  const logged = (): string => {
    const last = changes.map(({ circuit }) => circuit).findLast(({ name }) => name === 'open');
    return last?.name === 'open' ? messageOf(last.reason) : '';
  };
  return { plugin, keys: new KmsKeys(client, noFile), logged, changes };
}

function parsed(bytes: Uint8Array): unknown {
  return toJson(KmsWrappedKeySchema, fromBinary(KmsWrappedKeySchema, bytes));
}

/** As a caller who comes back when it is told to. */
async function later<T>(work: () => Promise<T>): Promise<T> {
  return retry(work, { attemptsMax: 500, delayMs: 50, delayMsMax: 50 });
}

describe('KmsKeys', () => {
  it('wraps with the newest key of the KMS, names it apart from those of files, and unwraps with every one', async () => {
    const { plugin, keys } = await aKms();
    const first = await keys.wrap(dataKey, binding);
    const newest = plugin.rotate();
    const second = await keys.wrap(dataKey, binding);
    expect([first.wrappingKeyId, second.wrappingKeyId]).toEqual(['kms:arn:test:key/1', `kms:${newest}`]);
    expect(await keys.newestId()).toBe(`kms:${newest}`);
    for (const wrapped of [first, second]) expect(await keys.unwrap(wrapped, binding)).toEqual(dataKey);
    await expect(keys.unwrap({ ...first, wrappingKeyId: '0123456789abcdef' }, binding)).rejects.toThrow('no file has');
    await expect(keys.addKey()).rejects.toMatchObject({ kind: 'failed_precondition', field: 'new_key' });
  });

  it('unwraps for nothing but what a key was wrapped for, and nothing that was changed', async () => {
    const { plugin, keys, changes } = await aKms();
    plugin.rotate();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), fc.uint8Array({ maxLength: 80 }), async (here, there) => {
        const wrapped = await keys.wrap(dataKey, here);
        expect(await keys.unwrap(wrapped, here)).toEqual(dataKey);
        if (Buffer.compare(here, there) === 0) return;
        await expect(keys.unwrap(wrapped, there)).rejects.toThrow(NotAuthentic);
      }),
      { numRuns: 30 },
    );
    const wrapped = await keys.wrap(dataKey, binding);
    for (let at = 0; at < wrapped.bytes.length; at++) {
      const bytes = Buffer.from(wrapped.bytes);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      const opened = await keys.unwrap({ ...wrapped, bytes }, binding).catch((reason: unknown) => reason);
      if (opened instanceof NotAuthentic) continue;
      // A bit of a tag that says nothing: the same message, written in another way.
      expect(parsed(bytes)).toEqual(parsed(wrapped.bytes));
      expect(opened).toEqual(dataKey);
    }
    const { bytes } = wrapped;
    const others = [
      { wrappingKeyId: 'kms:arn:test:key/1', bytes },
      { wrappingKeyId: 'kms:', bytes },
    ];
    const cut = [0, 1, 20].map((length) => ({ ...wrapped, bytes: bytes.subarray(0, length) }));
    for (const each of [...others, ...cut]) await expect(keys.unwrap(each, binding)).rejects.toThrow(NotAuthentic);
    for (const length of [0, 32, 63, 65]) {
      plugin.onDecrypt = () => Buffer.alloc(length);
      await expect(keys.unwrap(wrapped, binding)).rejects.toThrow(NotAuthentic);
    }
    // What somebody wrote into the database keeps nobody else from the KMS.
    expect(changes).toEqual([]);
  });

  it('opens no value under the data key of another, even where the KMS lets bits be flipped', async () => {
    const { plugin, keys } = await aKms();
    plugin.cipher = 'aes-256-ctr';
    const [mine, theirs] = [
      { customerId: 'acme', name: 'x' },
      { customerId: 'acme', name: 'y' },
    ];
    const [sealed, other] = [await seal(keys, mine, Buffer.from('x')), await seal(keys, theirs, Buffer.from('y'))];
    const [bound, wanted] = plugin.seen.map((plaintext) => plaintext.subarray(32));
    const stored = fromBinary(KmsWrappedKeySchema, sealed.dataKey.bytes);
    stored.ciphertext = stored.ciphertext.map((byte, at) => byte ^ (bound?.[at - 32] ?? 0) ^ (wanted?.[at - 32] ?? 0));
    const forged = { ...sealed.dataKey, bytes: toBinary(KmsWrappedKeySchema, stored) };
    // The key itself is taken for the other secret's, so the value is what is left to refuse it.
    await expect(keys.unwrap(forged, Buffer.from('["meterd secret","data key","acme","y"]'))).resolves.toHaveLength(32);
    for (const { ciphertext } of [sealed, other]) {
      await expect(unseal(keys, theirs, { ciphertext, dataKey: forged })).rejects.toThrow(NotAuthentic);
    }
    expect((await unseal(keys, mine, sealed)).toString()).toBe('x');
  });
});

describe('KmsClient', () => {
  const annotations = (bytes: number) => ({ 'a.test': Buffer.alloc(bytes - 'a.test'.length) });

  it('takes answers up to the bounds', async () => {
    const { plugin, keys } = await aKms();
    const keyId = 'ä'.repeat(512);
    plugin.onStatus = (status) => ({ ...status, keyId, version: 'v2beta1' });
    plugin.onEncrypt = () => ({ keyId, ciphertext: Buffer.alloc(1024), annotations: annotations(32_768) });
    expect(await keys.newestId()).toBe(`kms:${keyId}`);
    const { wrappingKeyId, bytes } = await keys.wrap(dataKey, binding);
    expect(wrappingKeyId).toBe(`kms:${keyId}`);
    expect(bytes.length).toBeGreaterThan(32_768);
    plugin.onDecrypt = () => Buffer.from(plugin.seen.at(-1) ?? []);
    expect(await keys.unwrap({ wrappingKeyId, bytes }, binding)).toEqual(dataKey);
  });

  it('refuses what is beyond them, and tells the log how and the caller nothing of it', async () => {
    const wrong: [string, object][] = [
      ['key_id is empty', { keyId: '' }],
      ['key_id is 1025 bytes long, more than 1024', { keyId: 'x'.repeat(1025) }],
      ['key_id has a control character', { keyId: 'words-of-the-plugin\n' }],
      ['ciphertext is empty', { ciphertext: Buffer.alloc(0) }],
      ['ciphertext is 1025 bytes long, more than 1024', { ciphertext: Buffer.alloc(1025) }],
      ['annotations have more than 32768 bytes', { annotations: annotations(32_769) }],
      ['annotations: "words" is no fully qualified domain name', { annotations: { words: Buffer.alloc(1) } }],
      ['annotations: "A.test" is no', { annotations: { 'A.test': Buffer.alloc(1) } }],
    ];
    for (const [words, spoiled] of wrong) {
      const { plugin, keys, logged } = await aKms();
      plugin.onEncrypt = (encrypted) => ({ ...encrypted, ...spoiled });
      await failsWith(() => keys.wrap(dataKey, binding), logged, words);
    }
    const unwell: [string, object][] = [
      ['it speaks the version "v1beta1"', { version: 'v1beta1' }],
      ['it says of its health "words-of-the-plugin', { healthz: `words-of-the-plugin ${'x'.repeat(10_000)}` }],
      ['key_id is empty', { keyId: '' }],
    ];
    for (const [words, spoiled] of unwell) {
      const { plugin, keys, logged } = await aKms();
      plugin.onStatus = (status) => ({ ...status, ...spoiled });
      await failsWith(() => keys.newestId(), logged, words);
      expect(logged().length).toBeLessThan(500);
    }
  });

  it('does not read an answer that is far beyond them', async () => {
    const { plugin, keys, logged } = await aKms();
    // The server under the plugin says that its client went away.
    const said = vi.spyOn(console, 'error').mockReturnValue();
    plugin.onEncrypt = (encrypted) => ({ ...encrypted, ciphertext: Buffer.alloc(1_000_000) });
    await failsWith(() => keys.wrap(dataKey, binding), logged, 'resource_exhausted');
    await plugin.kill();
    said.mockRestore();
  });

  /** Comes back until the call gets through to the plugin, and fails there. */
  async function failsWith(work: () => Promise<unknown>, logged: () => string, words: string): Promise<void> {
    const reason = await later(async () => {
      const thrown = await work().catch((each: unknown) => each);
      if (messageOf(thrown).includes('does not answer')) throw thrown;
      return thrown;
    });
    expect(reason).toMatchObject({ ...unavailable, message: expect.not.stringContaining('words') });
    expect(reason).toHaveProperty(
      'retryAfterMs',
      expect.toSatisfy((ms: number) => ms >= 250),
    );
    expect(logged()).toContain(words);
  }

  it('takes a refusal for a key that does not open where the plugin is well, and for none where it is not', async () => {
    const { plugin, keys, logged, changes } = await aKms();
    const wrapped = await keys.wrap(dataKey, binding);
    const refused: WrappedKey = { ...wrapped, wrappingKeyId: 'kms:arn:test:key/none' };
    await expect(keys.unwrap(refused, binding)).rejects.toThrow(NotAuthentic);
    expect(changes).toEqual([]);
    plugin.onStatus = (status) => ({ ...status, healthz: 'the KMS is away' });
    await failsWith(() => keys.unwrap(refused, binding), logged, 'the KMS is away');
    for (const code of [Code.Unavailable, Code.ResourceExhausted, Code.DeadlineExceeded]) {
      const busy = await aKms();
      busy.plugin.onDecrypt = () => {
        throw new ConnectError('words-of-the-plugin', code);
      };
      const { keys: theirs } = busy;
      const stored = await theirs.wrap(dataKey, binding);
      await failsWith(() => theirs.unwrap(stored, binding), busy.logged, 'KMS plugin, Decrypt: ');
    }
  });

  it('tries again what a plugin that is just starting or stopping could not do', async () => {
    const { plugin, keys, changes } = await aKms();
    const wrapped = await keys.wrap(dataKey, binding);
    let left = 2;
    plugin.onDecrypt = (decrypted) => {
      if (left-- > 0) throw new ConnectError('not now', Code.Unavailable);
      return decrypted();
    };
    expect(await keys.unwrap(wrapped, binding)).toEqual(dataKey);
    expect([plugin.calls, changes]).toEqual([4, []]);
  });

  it('goes on with a plugin that was started anew, at once where no call came in between', async () => {
    const { plugin, keys, logged } = await aKms();
    const wrapped = await keys.wrap(dataKey, binding);
    await plugin.kill();
    await plugin.start();
    expect(await keys.unwrap(wrapped, binding)).toEqual(dataKey);
    await plugin.kill();
    await failsWith(() => keys.unwrap(wrapped, binding), logged, 'ENOENT');
    await plugin.start();
    expect(await later(() => keys.unwrap(wrapped, binding))).toEqual(dataKey);
  });

  it('waits for one that hangs no longer than the timeout, and keeps others from waiting at all', async () => {
    const { plugin, keys, logged, changes } = await aKms({ timeoutMs: 300 });
    await plugin.kill();
    await plugin.startHung();
    await failsWith(() => keys.newestId(), logged, 'Status: no answer within 300 ms');
    await expect(keys.wrap(dataKey, binding)).rejects.toMatchObject({
      ...unavailable,
      message: expect.stringContaining('the KMS plugin does not answer'),
    });
    await plugin.kill();
    await plugin.start();
    await later(() => keys.newestId());
    expect(changes.at(-1)).toMatchObject({ circuit: { name: 'closed' } });
  });

  it('leaves the connection of one that hangs for the one that took its place', async () => {
    const { plugin, keys, logged } = await aKms({ timeoutMs: 2_000 });
    await keys.newestId();
    await plugin.freeze();
    const next = new KmsPlugin(plugin.socketPath);
    await next.start();
    closing.push(() => next.kill());
    await failsWith(() => keys.newestId(), logged, 'no answer within 2000 ms');
    await later(() => keys.newestId());
    expect(next.calls).toBe(1);
  });
});
