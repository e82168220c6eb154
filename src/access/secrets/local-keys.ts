import { createHash, createSecretKey, type KeyObject, randomBytes, randomUUID } from 'node:crypto';
import { link, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { codeOf } from '../../lib/failure.ts';
import { syncFolder } from '../../lib/sync-folder.ts';
import { decrypt, encrypt, KEY_BYTES } from './aead.ts';
import type { KeyProvider, WrappedKey } from './key-provider.ts';

/** Where wrapping keys are unless it is said otherwise, in the data folder. */
export const SECRET_KEYS_FILE = 'secret.keys';
const LINE = /^[0-9a-f]{64}$/;
const ID_HEX_DIGITS = 16;
/** Whoever else may read the file may read every secret. */
const OTHERS_MODE = 0o077;
const FILE_BYTES_MAX = 65_536;

/**
 * Wrapping keys in a file: one on each line in hexadecimal, the newest last. A key is named by a part of its SHA-256, so that
 * keys of two files are never taken for each other. Processes that share a database share the file, or copies of it.
 */
export class LocalKeys implements KeyProvider {
  readonly #path: string;
  /** In the order of the file. */
  #keys: ReadonlyMap<string, KeyObject>;

  private constructor(path: string, keys: ReadonlyMap<string, KeyObject>) {
    this.#path = path;
    this.#keys = keys;
  }

  /**
   * @param mayMake asked where there is no file. A new one would not open what is stored already
   * @throws Error where the file is missing and none may be made, is readable by others, or is not such a file
   */
  static async open(path: string, mayMake: () => Promise<boolean>): Promise<LocalKeys> {
    try {
      return new LocalKeys(path, await readKeys(path));
    } catch (reason) {
      if (codeOf(reason) !== 'ENOENT') throw reason;
    }
    if (!(await mayMake())) {
      throw new Error(`${path} is missing, and there are secrets that only its keys open: put it back`);
    }
    await mkdir(dirname(path), { recursive: true });
    // Of several processes that start at once the first makes it.
    await writeKeys(path, [newKey()], link).catch((reason: unknown) => {
      if (codeOf(reason) !== 'EEXIST') throw reason;
    });
    return new LocalKeys(path, await readKeys(path));
  }

  async newestId(): Promise<string> {
    return (await this.#newest()).id;
  }

  async wrap(dataKey: Uint8Array, binding: Uint8Array): Promise<WrappedKey> {
    const { id, key } = await this.#newest();
    return { wrappingKeyId: id, bytes: encrypt(key, binding, dataKey) };
  }

  async unwrap({ wrappingKeyId, bytes }: WrappedKey, binding: Uint8Array): Promise<Buffer> {
    // A key that is not known may have been added since.
    if (!this.#keys.has(wrappingKeyId)) this.#keys = await readKeys(this.#path);
    const key = this.#keys.get(wrappingKeyId);
    if (key === undefined) throw new Error(`${this.#path} does not have the key ${wrappingKeyId}`);
    return decrypt(key, binding, bytes);
  }

  async addKey(): Promise<string> {
    const keys = await readKeys(this.#path);
    await writeKeys(this.#path, [...keys.values(), newKey()], rename);
    return this.newestId();
  }

  async #newest(): Promise<{ id: string; key: KeyObject }> {
    this.#keys = await readKeys(this.#path);
    const last = [...this.#keys].at(-1);
    if (last === undefined) throw new Error(`${this.#path} has no key`);
    return { id: last[0], key: last[1] };
  }
}

function newKey(): KeyObject {
  return createSecretKey(randomBytes(KEY_BYTES));
}

async function readKeys(path: string): Promise<ReadonlyMap<string, KeyObject>> {
  const file = await open(path, 'r');
  try {
    const { mode, size } = await file.stat();
    if ((mode & OTHERS_MODE) !== 0) {
      throw new Error(`${path} has the mode ${(mode & 0o777).toString(8)}: only its owner may read it, mode 600`);
    }
    if (size > FILE_BYTES_MAX) throw new Error(`${path} has ${size} bytes, more than ${FILE_BYTES_MAX}`);
    const lines = (await file.readFile('utf8')).trim().split('\n');
    const wrong = lines.findIndex((line) => !LINE.test(line));
    // Never the line itself: it may be a key with a slip of the pen in it.
    if (wrong !== -1) throw new Error(`${path}: line ${wrong + 1} is not a key of ${KEY_BYTES * 2} hexadecimal digits`);
    return new Map(lines.map((line) => [idOf(line), createSecretKey(Buffer.from(line, 'hex'))]));
  } finally {
    await file.close();
  }
}

function idOf(line: string): string {
  return createHash('sha256').update(Buffer.from(line, 'hex')).digest('hex').slice(0, ID_HEX_DIGITS);
}

/**
 * The file comes as a whole: a crash leaves the one before, and its keys with it.
 * @param place gives the file that was written its name
 */
async function writeKeys(
  path: string,
  keys: readonly KeyObject[],
  place: (from: string, to: string) => Promise<void>,
): Promise<void> {
  const written = `${path}.${randomUUID()}`;
  try {
    await writeSynced(written, keys.map((key) => `${key.export().toString('hex')}\n`).join(''));
    await place(written, path);
    await syncFolder(dirname(path));
  } finally {
    await rm(written, { force: true });
  }
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
