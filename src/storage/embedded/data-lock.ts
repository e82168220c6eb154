import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

const LOCK_FILE = 'lock';
const SQLITE_BUSY = 5;

/** Keeps what is locked from being collected as garbage, which would free it. */
const held = new Set<DatabaseSync>();

export interface DataLock {
  /** Frees the folder for another meterd. Twice is harmless. */
  release(): void;
}

/**
 * Takes a data folder for this process alone, making it where it is missing. Two that wrote the same spool would each recycle
 * what the other still needs.
 *
 * Node has no file locks of its own, but SQLite has, and its locks are the kernel's: they end with the process, however
 * that ends, so there is no stale lock that somebody must remove by hand.
 * @throws Error where another meterd has it, and where the folder cannot be written to
 */
export function lockDataFolder(folder: string): DataLock {
  const path = resolve(folder);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const database = openLockFile(path);
  try {
    // The journal stays in memory: nothing is ever written, and a file of it would only raise questions.
    database.exec('PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    if (errorCodeOf(cause) !== SQLITE_BUSY) throw cause;
    throw new Error(`data folder ${path} is in use by another meterd`, { cause });
  }
  held.add(database);
  return {
    release() {
      if (held.delete(database)) database.close();
    },
  };
}

function openLockFile(folder: string): DatabaseSync {
  try {
    return new DatabaseSync(join(folder, LOCK_FILE));
  } catch (cause) {
    throw new Error(`data folder ${folder} cannot be written to by this user`, { cause });
  }
}

function errorCodeOf(reason: unknown): unknown {
  return reason instanceof Error && 'errcode' in reason ? reason.errcode : undefined;
}
