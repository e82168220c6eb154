import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createZstdCompress, createZstdDecompress } from 'node:zlib';
import { CallerFault, codeOf } from '../lib/failure.ts';
import { syncFolder } from '../lib/sync-folder.ts';

/** What a file of a backup has to be. */
export interface BackupFile {
  /** Below the folder. */
  readonly name: string;
  readonly bytes: number;
  /** In hexadecimal, of the file as it lies there. */
  readonly sha256: string;
}

/** The folders in a backup. */
export const PARTS = ['postgres', 'clickhouse', 'quarantine'] as const;

/** A backup holds the hashes of keys and all that is known of customers. */
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;

/**
 * Makes the folder of a new backup.
 * @throws CallerFault invalid_argument where the path is relative; failed_precondition where there is something in it, and
 *   where it cannot be made
 */
export async function makeFolder(folder: string): Promise<void> {
  if (!isAbsolute(folder)) {
    throw new CallerFault('invalid_argument', 'folder', `folder: "${folder}" is not an absolute path`);
  }
  const refused = (why: string): CallerFault => {
    return new CallerFault('failed_precondition', 'folder', `folder: "${folder}" ${why}`);
  };
  try {
    if (!(await isEmpty(folder))) throw refused('is not empty');
    // One that is there already keeps its owner; the one above it is not made: a path that is misspelt shows.
    await mkdir(folder, { mode: FOLDER_MODE }).catch((reason: unknown) => {
      if (codeOf(reason) !== 'EEXIST') throw reason;
    });
    for (const part of PARTS) await mkdir(join(folder, part), { mode: FOLDER_MODE });
  } catch (reason) {
    if (reason instanceof CallerFault || codeOf(reason) === undefined) throw reason;
    throw refused(`cannot be made: ${String(codeOf(reason))}`);
  }
}

/** Whether a folder is missing or has nothing in it. @throws the error of the disk, where it is none among others */
export async function isEmpty(folder: string): Promise<boolean> {
  try {
    return (await readdir(folder)).length === 0;
  } catch (reason) {
    if (codeOf(reason) === 'ENOENT') return true;
    throw reason;
  }
}

/** Removes what a backup that failed has written: all that is in its folder, which was empty before. */
export async function removeContents(folder: string): Promise<void> {
  for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true, force: true });
}

/** Writes a stream into a new file, compressed. Resolves once it is on disk. @param name below the folder */
export async function writeCompressed(
  folder: string,
  name: string,
  source: Readable,
  signal: AbortSignal,
): Promise<BackupFile> {
  const hash = createHash('sha256');
  let bytes = 0;
  const measure = new Transform({
    transform(chunk: Buffer, _, done) {
      hash.update(chunk);
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  const file = createWriteStream(join(folder, name), { flags: 'wx', mode: FILE_MODE, flush: true });
  await pipeline(source, createZstdCompress(), measure, file, { signal });
  return { name, bytes, sha256: hash.digest('hex') };
}

/** Writes a small file as it is. Resolves once it is on disk. */
export async function writeSmall(folder: string, name: string, content: string): Promise<void> {
  const file = await open(join(folder, name), 'wx', FILE_MODE);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Puts the names of all files on disk. */
export async function syncFolders(folder: string): Promise<void> {
  for (const path of [...PARTS.map((part) => join(folder, part)), folder]) await syncFolder(path);
}

/** What a file held before it was compressed. */
export async function readCompressed(
  folder: string,
  name: string,
  use: (content: AsyncIterable<Buffer>) => Promise<void>,
): Promise<void> {
  await pipeline(createReadStream(join(folder, name)), createZstdDecompress(), use);
}

/** @throws Error that names the file, where it is not the one that was written */
export async function checkFile(folder: string, expected: BackupFile): Promise<void> {
  const { name, bytes, sha256 } = expected;
  const path = join(folder, name);
  const found = await stat(path).catch((reason: unknown) => {
    if (codeOf(reason) !== 'ENOENT') throw reason;
    throw new Error(`the backup is not whole: ${name} is missing`);
  });
  if (found.size !== bytes) {
    throw new Error(`the backup is damaged: ${name} has ${found.size} bytes, not ${bytes}`);
  }
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  if (hash.digest('hex') !== sha256) throw new Error(`the backup is damaged: ${name} is not what was written`);
}
