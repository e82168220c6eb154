import { basename, dirname, join } from 'node:path';
import type { SpoolDisk, SpoolFile } from '../../../src/ingest/spool/disk.ts';

const SECTOR_BYTES = 512;

/** Numbers from 0 up to 1, the same for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One thing the spool asks of the disk. */
export interface Operation {
  readonly kind: 'list' | 'open' | 'rename' | 'remove' | 'sync-folder' | 'free' | 'read' | 'write' | 'sync' | 'close';
  /** The name of the file, without its folder. */
  readonly name: string;
}

/** What there is of a file: in the page cache, and on disk. */
interface Content {
  /** Its present name. */
  path: string;
  cached: Buffer;
  durable: Buffer;
  readonly dirty: Set<number>;
}

type NameChange = { readonly folder: string; readonly apply: (names: Map<string, Content>) => void };

export function diskError(code: string): Error {
  return Object.assign(new Error(`${code}: simulated`), { code });
}

/**
 * A disk in memory that keeps only what was synced. A power cut keeps or loses each unsynced sector of 512 bytes by
 * chance, in any order; a failed sync does the same and leaves the pages clean, as Linux does. Names change in order,
 * and are durable once their folder is synced.
 */
export class SimulatedDisk implements SpoolDisk {
  /** Asked before each operation; an error that it returns is thrown in the operation's place. */
  onOperation: (operation: Operation) => Error | undefined | Promise<undefined> = () => undefined;
  /** Whether a write may take less than it was given. */
  shortWrites = false;
  freeBytesLeft = Number.MAX_SAFE_INTEGER;
  /** Every operation, in order. */
  readonly log: Operation[] = [];
  readonly #random: () => number;
  #names = new Map<string, Content>();
  #durableNames = new Map<string, Content>();
  #nameChanges: NameChange[] = [];

  constructor(random: () => number) {
    this.#random = random;
  }

  /** The same disk after the process was killed: the page cache stays. */
  afterKill(): SimulatedDisk {
    const disk = new SimulatedDisk(this.#random);
    disk.#names = this.#names;
    disk.#durableNames = this.#durableNames;
    disk.#nameChanges = this.#nameChanges;
    return disk;
  }

  /** The same disk after the power went: the page cache is gone. */
  afterPowerCut(): SimulatedDisk {
    const disk = new SimulatedDisk(this.#random);
    const kept = Math.floor(this.#random() * (this.#nameChanges.length + 1));
    for (const change of this.#nameChanges.slice(0, kept)) change.apply(this.#durableNames);
    for (const [path, content] of this.#durableNames) {
      this.#writeBackSome(content);
      const durable = Buffer.from(content.durable);
      disk.#names.set(path, { path, cached: durable, durable: Buffer.from(durable), dirty: new Set() });
    }
    disk.#durableNames = new Map(disk.#names);
    return disk;
  }

  /** The names in a folder, and the bytes of a file as any reader would get them. For tests to look at and to spoil. */
  names(folder: string): string[] {
    return [...this.#names.keys()].filter((path) => dirname(path) === folder).map((path) => basename(path));
  }

  bytesOf(path: string): Buffer {
    return this.#content(path).cached;
  }

  setBytes(path: string, bytes: Buffer): void {
    this.#content(path).cached = bytes;
  }

  async makeFolder(): Promise<void> {}

  async list(folder: string): Promise<string[]> {
    await this.#ask('list', folder);
    return this.names(folder);
  }

  async open(path: string, mode: 'create' | 'write' | 'read'): Promise<SpoolFile> {
    await this.#ask('open', path);
    if (mode === 'create') {
      const created = { path, cached: Buffer.alloc(0), durable: Buffer.alloc(0), dirty: new Set<number>() };
      this.#changeNames(dirname(path), (names) => names.set(path, created));
    }
    return this.#file(this.#content(path));
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#ask('rename', from);
    const content = this.#content(from);
    content.path = to;
    this.#changeNames(dirname(from), (names) => {
      names.delete(from);
      names.set(to, content);
    });
  }

  async remove(path: string): Promise<void> {
    await this.#ask('remove', path);
    this.#content(path);
    this.#changeNames(dirname(path), (names) => names.delete(path));
  }

  async syncFolder(folder: string): Promise<void> {
    await this.#ask('sync-folder', folder);
    for (const change of this.#nameChanges) if (change.folder === folder) change.apply(this.#durableNames);
    this.#nameChanges = this.#nameChanges.filter((change) => change.folder !== folder);
  }

  async freeBytes(folder: string): Promise<number> {
    await this.#ask('free', folder);
    return this.freeBytesLeft;
  }

  #file(content: Content): SpoolFile {
    return {
      sizeBytes: async () => content.cached.length,
      read: async (target, position) => {
        await this.#ask('read', content.path);
        return content.cached.copy(target, 0, position, Math.min(content.cached.length, position + target.length));
      },
      write: async (bytes, position) => {
        const cut = this.shortWrites && this.#random() < 0.2 ? Math.ceil(this.#random() * bytes.length) : bytes.length;
        const failure = await this.#refusal('write', content.path);
        // A write that fails may have got some of the way.
        if (failure !== undefined) {
          this.#write(content, bytes.subarray(0, Math.floor(this.#random() * bytes.length)), position);
          throw failure;
        }
        this.#write(content, bytes.subarray(0, cut), position);
        return cut;
      },
      sync: async () => {
        const failure = await this.#refusal('sync', content.path);
        if (failure !== undefined) {
          this.#writeBackSome(content);
          throw failure;
        }
        this.#writeBack(content);
      },
      close: () => this.#ask('close', content.path),
    };
  }

  #write(content: Content, bytes: Uint8Array, position: number): void {
    if (position + bytes.length > content.cached.length) {
      content.cached = Buffer.concat([content.cached, Buffer.alloc(position + bytes.length - content.cached.length)]);
    }
    content.cached.set(bytes, position);
    for (let at = position - (position % SECTOR_BYTES); at < position + bytes.length; at += SECTOR_BYTES) {
      content.dirty.add(at);
    }
  }

  /** Only what is dirty: a page that a failed sync has left clean is written by no later one. */
  #writeBack(content: Content): void {
    const durable = Buffer.alloc(Math.max(content.cached.length, content.durable.length));
    content.durable.copy(durable);
    for (const at of content.dirty) content.cached.copy(durable, at, at, at + SECTOR_BYTES);
    content.durable = durable;
    content.dirty.clear();
  }

  #writeBackSome(content: Content): void {
    const sizeBytes = this.#random() < 0.5 ? content.cached.length : content.durable.length;
    const durable = Buffer.alloc(Math.max(sizeBytes, content.durable.length));
    content.durable.copy(durable);
    for (const at of content.dirty) {
      if (this.#random() < 0.5) content.cached.copy(durable, at, at, at + SECTOR_BYTES);
    }
    content.durable = durable;
    content.dirty.clear();
  }

  #changeNames(folder: string, apply: (names: Map<string, Content>) => void): void {
    apply(this.#names);
    this.#nameChanges.push({ folder, apply });
  }

  #content(path: string): Content {
    const content = this.#names.get(path);
    if (content === undefined) throw diskError('ENOENT');
    return content;
  }

  async #ask(kind: Operation['kind'], path: string): Promise<void> {
    const failure = await this.#refusal(kind, path);
    if (failure !== undefined) throw failure;
  }

  async #refusal(kind: Operation['kind'], path: string): Promise<Error | undefined> {
    const operation = { kind, name: basename(path) };
    this.log.push(operation);
    return this.onOperation(operation);
  }
}

/** Everything on the disk below a folder is the spool's; tests use this one. */
export const FOLDER = join('/', 'spool');
