import { mkdir, open, readdir, rename, statfs, unlink, type FileHandle } from 'node:fs/promises';
import { syncFolder } from '../../lib/sync-folder.ts';

/** The few file operations that the spool does. Tests put a disk in its place that fails and forgets. */
export interface SpoolDisk {
  /** Makes the folder and those above it; no error where it is there. */
  makeFolder(path: string): Promise<void>;
  /** The names in a folder, in any order. */
  list(folder: string): Promise<string[]>;
  /** `create` makes an empty file, in place of one that is there; the others open one that is there. */
  open(path: string, mode: 'create' | 'write' | 'read'): Promise<SpoolFile>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Makes durable which names the folder holds. */
  syncFolder(folder: string): Promise<void>;
  /** Bytes that may still be written to the disk that holds the folder. */
  freeBytes(folder: string): Promise<number>;
}

/** An open file. Positions are bytes from its start. */
export interface SpoolFile {
  sizeBytes(): Promise<number>;
  /** @returns how many bytes were read; 0 at the end of the file */
  read(target: Uint8Array, position: number): Promise<number>;
  /** @returns how many bytes were written; may be fewer than given */
  write(bytes: Uint8Array, position: number): Promise<number>;
  /** Makes durable what was written (fdatasync). */
  sync(): Promise<void>;
  close(): Promise<void>;
}

const OPEN_FLAGS = { create: 'w+', write: 'r+', read: 'r' } as const;

export const realDisk: SpoolDisk = {
  makeFolder: async (path) => {
    await mkdir(path, { recursive: true, mode: 0o700 });
  },
  list: (folder) => readdir(folder),
  open: async (path, mode) => new RealFile(await open(path, OPEN_FLAGS[mode], 0o600)),
  rename,
  remove: unlink,
  syncFolder,
  freeBytes: async (folder) => {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  },
};

class RealFile implements SpoolFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async sizeBytes(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    return (await this.#handle.read(target, 0, target.length, position)).bytesRead;
  }

  async write(bytes: Uint8Array, position: number): Promise<number> {
    return (await this.#handle.write(bytes, 0, bytes.length, position)).bytesWritten;
  }

  sync(): Promise<void> {
    return this.#handle.datasync();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** Writes all of `bytes`. @throws Error where the disk takes none of it */
export async function writeFully(file: SpoolFile, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const written = await file.write(bytes.subarray(done), position + done);
    if (written === 0) throw new Error(`the disk took none of ${bytes.length - done} bytes at ${position + done}`);
    done += written;
  }
}

/** Fills `target` as far as the file goes. @returns how many bytes were read */
export async function readFully(file: SpoolFile, target: Uint8Array, position: number): Promise<number> {
  let done = 0;
  while (done < target.length) {
    const read = await file.read(target.subarray(done), position + done);
    if (read === 0) break;
    done += read;
  }
  return done;
}

/** Whether an error says that the disk or a quota of it is full: making room cures that, unlike every other error. */
export function isNoSpace(reason: unknown): boolean {
  return reason instanceof Error && 'code' in reason && (reason.code === 'ENOSPC' || reason.code === 'EDQUOT');
}

/** Whether an error says that there is no such file. */
export function isMissing(reason: unknown): boolean {
  return reason instanceof Error && 'code' in reason && reason.code === 'ENOENT';
}
