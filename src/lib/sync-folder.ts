import { open } from 'node:fs/promises';

/** Puts the names of a folder's files on disk: without it a file that was made or renamed may be gone after a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
