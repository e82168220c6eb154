import { mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder } from '../lib/sync-folder.ts';
import { formatCredential } from './credential.ts';
import type { KeyStore } from './key-store.ts';

/** Where the first start leaves the admin key, readable by its owner only. */
export const ADMIN_KEY_FILE = 'admin.key';

/**
 * First start: makes an admin key and writes it into the data folder.
 * @returns the file's path where a key was made
 */
export async function ensureFirstKey(store: KeyStore, dataDir: string): Promise<string | undefined> {
  const path = join(dataDir, ADMIN_KEY_FILE);
  const key = await store.createFirst(async (credential) => {
    await mkdir(dataDir, { recursive: true });
    const file = await open(`${path}.new`, 'w', 0o600);
    try {
      await file.writeFile(`${formatCredential(credential)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${path}.new`, path);
    // The key is stored once this has returned: nobody would ever learn it where the file is not there then.
    await syncFolder(dataDir);
  });
  return key === undefined ? undefined : path;
}
