import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { codeOf } from '../lib/failure.ts';
import { readCompressed, writeCompressed } from './folder.ts';
import type { QuarantineFile } from './manifest.ts';

/** Where the spool and its writer keep what was acknowledged and cannot be stored, below the data folder. */
const FOLDERS = ['quarantine', 'spool/quarantine'];

/** Copies what lies in quarantine: nobody else has it. */
export async function copyOut(dataDir: string, folder: string, signal: AbortSignal): Promise<QuarantineFile[]> {
  const files: QuarantineFile[] = [];
  for (const from of FOLDERS) {
    for (const name of await listFiles(join(dataDir, from))) {
      const original = `${from}/${name}`;
      const source = createReadStream(join(dataDir, original));
      const written = await writeCompressed(folder, `quarantine/${files.length}.zst`, source, signal);
      files.push({ ...written, original });
    }
  }
  return files;
}

/** Puts a file back to where it lay. */
export async function copyIn(dataDir: string, { name, original }: QuarantineFile, folder: string): Promise<void> {
  const path = join(dataDir, original);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await readCompressed(folder, name, (content) => {
    return pipeline(content, createWriteStream(path, { flags: 'wx', mode: 0o600, flush: true }));
  });
}

async function listFiles(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
  } catch (reason) {
    if (codeOf(reason) === 'ENOENT') return [];
    throw reason;
  }
}
