import { crc32 } from 'node:zlib';
import { join } from 'node:path';
import { isMissing, readFully, writeFully, type SpoolDisk, type SpoolFile } from './disk.ts';
import { START, type Position } from './segment.ts';

/** What the mark says. */
export interface Mark {
  /** Everything before it is stored elsewhere and need not be delivered again. */
  readonly applied: Position;
  /** A record that was on disk when the mark was written: at opening, the spool must reach at least that far. */
  readonly durableRecord: number;
}

const NAME = 'applied';
const NEW_NAME = 'applied.new';
const MAGIC = Buffer.from('METERDAP', 'latin1');
const VERSION = 1;
/** Each slot in a page of its own: a write that is torn, or damages its surroundings, leaves the other alone. */
const SLOT_STRIDE_BYTES = 4096;
const SLOT_BYTES = 60;

/**
 * The applied mark: two slots in one file, written in turn, so that the one before is whole while the other is being
 * written. A torn write leaves a slot whose checksum is wrong, and the older mark counts: records are delivered again,
 * which is harmless. The file has its size from the start, so that a full disk cannot keep the mark from moving on, and
 * with it the spool from making room.
 */
export class AppliedMark {
  readonly #disk: SpoolDisk;
  readonly #folder: string;
  #mark: Mark;
  /** Counts the writes; its parity is the slot. */
  #writes: number;
  /** `undefined` after an error: that file is never written again, the next mark makes a fresh one. */
  #file: SpoolFile | undefined;

  private constructor(disk: SpoolDisk, folder: string, mark: Mark, writes: number) {
    this.#disk = disk;
    this.#folder = folder;
    this.#mark = mark;
    this.#writes = writes;
  }

  /**
   * Reads the mark and writes it anew, to a fresh file: what was read may be in the page cache only.
   * @returns undefined where there is no file, or neither slot of it is whole
   */
  static async open(disk: SpoolDisk, folder: string): Promise<AppliedMark | undefined> {
    const bytes = await readMarkFile(disk, join(folder, NAME));
    if (bytes === undefined) return undefined;
    const slots = [parseSlot(bytes, 0), parseSlot(bytes, 1)].filter((slot) => slot !== undefined);
    const newest = slots.toSorted((a, b) => b.writes - a.writes)[0];
    if (newest === undefined) return undefined;
    const opened = new AppliedMark(disk, folder, newest.mark, newest.writes);
    await opened.#replace(newest.mark);
    return opened;
  }

  /** Makes a mark at the very start of the spool, in place of one that may be there. */
  static async create(disk: SpoolDisk, folder: string): Promise<AppliedMark> {
    const created = new AppliedMark(disk, folder, { applied: START, durableRecord: 0 }, 0);
    await created.#replace(created.#mark);
    return created;
  }

  get mark(): Mark {
    return this.#mark;
  }

  /**
   * Writes the mark; when it returns, the mark is on disk. One call at a time. After an error in the file at hand it
   * makes a fresh one, once.
   * @throws the error of the disk; the mark then stays what it was
   */
  async write(mark: Mark): Promise<void> {
    if (this.#file === undefined) return this.#replace(mark);
    try {
      await writeFully(this.#file, encodeSlot(mark, this.#writes + 1), slotOffset(this.#writes + 1));
      await this.#file.sync();
    } catch {
      // What a file holds after a failed sync is unknown, and syncing it again may report success without cause.
      await this.close();
      return this.#replace(mark);
    }
    this.#writes++;
    this.#mark = mark;
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #replace(mark: Mark): Promise<void> {
    const writes = this.#writes + 1;
    const bytes = Buffer.alloc(2 * SLOT_STRIDE_BYTES);
    encodeSlot(mark, writes).copy(bytes, slotOffset(writes));
    const path = join(this.#folder, NEW_NAME);
    const file = await this.#disk.open(path, 'create');
    try {
      await writeFully(file, bytes, 0);
      await file.sync();
      await this.#disk.rename(path, join(this.#folder, NAME));
      await this.#disk.syncFolder(this.#folder);
    } catch (reason) {
      await file.close();
      throw reason;
    }
    this.#file = file;
    this.#writes = writes;
    this.#mark = mark;
  }
}

/** @returns undefined where there is no such file */
async function readMarkFile(disk: SpoolDisk, path: string): Promise<Buffer | undefined> {
  const file = await disk.open(path, 'read').catch((reason: unknown) => {
    if (isMissing(reason)) return undefined;
    throw reason;
  });
  if (file === undefined) return undefined;
  const bytes = Buffer.alloc(2 * SLOT_STRIDE_BYTES);
  try {
    await readFully(file, bytes, 0);
  } finally {
    await file.close();
  }
  return bytes;
}

function slotOffset(writes: number): number {
  return (writes % 2) * SLOT_STRIDE_BYTES;
}

function encodeSlot(mark: Mark, writes: number): Buffer {
  const bytes = Buffer.alloc(SLOT_BYTES);
  MAGIC.copy(bytes, 0);
  bytes.writeUInt32LE(VERSION, 8);
  const { record, segment, offset } = mark.applied;
  [writes, record, segment, offset, mark.durableRecord].forEach((value, index) =>
    bytes.writeBigUInt64LE(BigInt(value), 16 + index * 8),
  );
  bytes.writeUInt32LE(crc32(bytes.subarray(0, SLOT_BYTES - 4)), SLOT_BYTES - 4);
  return bytes;
}

/** @throws Error where a whole slot is of another version */
function parseSlot(file: Buffer, slot: number): { mark: Mark; writes: number } | undefined {
  const bytes = file.subarray(slot * SLOT_STRIDE_BYTES, slot * SLOT_STRIDE_BYTES + SLOT_BYTES);
  if (bytes.readUInt32LE(SLOT_BYTES - 4) !== crc32(bytes.subarray(0, SLOT_BYTES - 4))) return undefined;
  if (!bytes.subarray(0, 8).equals(MAGIC)) return undefined;
  const version = bytes.readUInt32LE(8);
  if (version !== VERSION) {
    throw new Error(`the spool's applied mark has format version ${version}, and this meterd reads ${VERSION}`);
  }
  const value = (index: number) => Number(bytes.readBigUInt64LE(16 + index * 8));
  return {
    writes: value(0),
    mark: { applied: { record: value(1), segment: value(2), offset: value(3) }, durableRecord: value(4) },
  };
}
