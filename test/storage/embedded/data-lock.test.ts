import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lockDataFolder } from '../../../src/storage/embedded/data-lock.ts';
import { holdElsewhere } from './processes.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'meterd-lock-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the lock of a data folder', () => {
  it('is refused to a second process, and free when the first is killed', async () => {
    const holder = await holdElsewhere('data-lock', folder);
    expect(() => lockDataFolder(folder)).toThrow(`data folder ${folder} is in use by another meterd`);
    await holder.kill();
    lockDataFolder(folder).release();
  });

  it('keeps a process out that starts while this one has it', async () => {
    const lock = lockDataFolder(folder);
    await expect(holdElsewhere('data-lock', folder)).rejects.toThrow(`data folder ${folder} is in use`);
    lock.release();
    const holder = await holdElsewhere('data-lock', folder);
    expect(holder.line).toBe('locked');
    await holder.kill();
  });

  it('is refused a second time in the same process too, and released once or twice', () => {
    const lock = lockDataFolder(folder);
    expect(() => lockDataFolder(folder)).toThrow('in use by another meterd');
    lock.release();
    lock.release();
    lockDataFolder(folder).release();
  });

  it('says when the folder cannot be written to', () => {
    expect(() => lockDataFolder('/dev/null/data')).toThrow('/dev/null');
  });
});
