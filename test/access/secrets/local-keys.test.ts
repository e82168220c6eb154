import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { NotAuthentic } from '../../../src/access/secrets/aead.ts';
import { LocalKeys } from '../../../src/access/secrets/local-keys.ts';

const folder = await mkdtemp(join(tmpdir(), 'meterd-secrets-'));
afterAll(() => rm(folder, { recursive: true, force: true }));
const may = async (): Promise<boolean> => true;
const mayNot = async (): Promise<boolean> => false;
const binding = Buffer.from('here');
const dataKey = Buffer.alloc(32, 7);

describe('LocalKeys', () => {
  it('makes one file, whatever opens at once, that only its owner reads', async () => {
    const path = join(folder, 'first', 'keys');
    const opened = await Promise.all([1, 2, 3, 4].map(() => LocalKeys.open(path, may)));
    const ids = await Promise.all(opened.map((keys) => keys.newestId()));
    expect(new Set(ids).size).toBe(1);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readFile(path, 'utf8')).toMatch(/^[0-9a-f]{64}\n$/);
  });

  it('wraps with the newest key and unwraps with every one, also one that another process added', async () => {
    const path = join(folder, 'several');
    const [here, there] = [await LocalKeys.open(path, may), await LocalKeys.open(path, may)];
    const first = await here.wrap(dataKey, binding);
    const newest = await there.addKey();
    const second = await there.wrap(dataKey, binding);
    expect(newest).not.toBe(first.wrappingKeyId);
    expect(second.wrappingKeyId).toBe(newest);
    for (const wrapped of [first, second]) expect(await here.unwrap(wrapped, binding)).toEqual(dataKey);
    expect((await here.wrap(dataKey, binding)).wrappingKeyId).toBe(newest);
  });

  it('unwraps for nothing but what a key was wrapped for, and nothing that was changed', async () => {
    const keys = await LocalKeys.open(join(folder, 'bound'), may);
    const wrapped = await keys.wrap(dataKey, binding);
    await expect(keys.unwrap(wrapped, Buffer.from('there'))).rejects.toThrow(NotAuthentic);
    for (let at = 0; at < wrapped.bytes.length; at++) {
      const bytes = Buffer.from(wrapped.bytes);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      await expect(keys.unwrap({ ...wrapped, bytes }, binding)).rejects.toThrow(NotAuthentic);
    }
    await expect(keys.unwrap({ ...wrapped, bytes: wrapped.bytes.subarray(0, 20) }, binding)).rejects.toThrow(
      'no nonce',
    );
    await expect(keys.unwrap({ ...wrapped, wrappingKeyId: 'x' }, binding)).rejects.toThrow('does not have the key x');
  });

  it('makes none where there are secrets that it would not open, and takes none that others may read', async () => {
    const path = join(folder, 'refused');
    await expect(LocalKeys.open(path, mayNot)).rejects.toThrow('put it back');
    await writeFile(path, `${'ab'.repeat(32)}\n`, { mode: 0o600 });
    await LocalKeys.open(path, mayNot);
    await chmod(path, 0o640);
    await expect(LocalKeys.open(path, mayNot)).rejects.toThrow('mode 640');
    await chmod(path, 0o600);
    await writeFile(path, `${'ab'.repeat(32)}\n${'cd'.repeat(31)}\n`);
    const refusal = await LocalKeys.open(path, mayNot).catch(String);
    expect(refusal).toContain('line 2');
    expect(refusal).not.toContain('cdcd');
  });
});
