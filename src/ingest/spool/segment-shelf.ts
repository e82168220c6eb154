import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { NotNow } from '../../lib/failure.ts';
import { writeFully, type SpoolDisk, type SpoolFile } from './disk.ts';
import type { SpoolListener } from './events.ts';
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES, segmentIdentity } from './format.ts';
import { isBehind, segmentName, type Position, type Segment } from './segment.ts';

const SPARE_NAME = /^spare-(\d+)$/;
/** Synced piece by piece: one sync of a whole segment would hold up the groups that are synced beside it. */
const ZEROS = Buffer.alloc(4 * 1024 * 1024);
/** Files kept for reuse beside the one that is prepared. More are given back to the disk. */
const SPARES_MAX = 1;
const NO_ROOM_RETRY_AFTER_MS = 1000;

/** A segment that is being written, and how far. */
export interface OpenSegment {
  readonly segment: Segment;
  readonly file: SpoolFile;
  endOffset: number;
}

export interface ShelfOptions {
  readonly disk: SpoolDisk;
  readonly folder: string;
  readonly segmentBytes: number;
  /** All segment files together, spare ones included, stay below it. */
  readonly quotaBytes: number;
  readonly keepAppliedSegments: number;
  readonly freeDiskBytesMin: number;
  readonly onEvent: SpoolListener;
}

/** The number in a spare file's name; `undefined` for every other name. */
export function parseSpareName(name: string): number | undefined {
  const digits = SPARE_NAME.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/**
 * The segment files: a life goes spare → prepared → taken → applied → spare. One segment is prepared ahead, so that
 * going on to it costs no more than any other group; what is behind the applied mark comes back as a spare.
 *
 * A file carries a segment's name only while its header is whole and on disk. So a bad header under such a name is
 * damage, never a crash while preparing.
 */
export class SegmentShelf {
  readonly #options: ShelfOptions;
  readonly #segments: Segment[];
  readonly #spares: string[];
  #spareNumber: number;
  #lastSegment: number;
  #applied: Position;
  #prepared: Promise<OpenSegment | undefined> | undefined;
  /** Upkeep runs one piece at a time: each moves files about. */
  #upkeep: Promise<unknown> = Promise.resolve();

  /** @param segments in order; those behind `applied` may be recycled at once */
  constructor(
    options: ShelfOptions,
    held: { segments: Segment[]; spares: string[]; lastSegment: number; applied: Position },
  ) {
    this.#options = options;
    this.#segments = held.segments;
    this.#spares = held.spares;
    this.#spareNumber = Math.max(0, ...held.spares.map((name) => parseSpareName(name) ?? 0));
    this.#lastSegment = held.lastSegment;
    this.#applied = held.applied;
  }

  /** All that hold records, oldest first, and the one that is being written. */
  get segments(): readonly Segment[] {
    return this.#segments;
  }

  /**
   * Prepares the next segment where none is. A failure is told, and `take` tries again.
   * @param beyondQuota for a start with no room left: what is written then makes an older segment free
   */
  async prepareAhead({ beyondQuota } = { beyondQuota: false }): Promise<void> {
    this.#prepared ??= this.#inTurn(() => this.#prepare(beyondQuota)).catch((error: unknown) => {
      // No room is no news here: `take` tries again, and tells the caller if there is none by then.
      if (!(error instanceof NotNow)) {
        this.#options.onEvent({ type: 'upkeep-failed', what: 'preparing a segment', error });
      }
      return undefined;
    });
    await this.#prepared;
  }

  /**
   * The next segment to write to. It counts among the segments from then on.
   * @throws NotNow where the quota or the disk has no room for one; the error of the disk
   */
  async take(): Promise<OpenSegment> {
    const prepared = this.#prepared;
    const taken = (await prepared) ?? (await this.#inTurn(() => this.#prepare(false)));
    this.#prepared = undefined;
    this.#segments.push(taken.segment);
    void this.prepareAhead();
    return taken;
  }

  /** Takes back what lies behind `applied`, but for the segments kept as history. Failures are told, not thrown. */
  async retire(applied: Position): Promise<void> {
    this.#applied = applied;
    try {
      await this.#inTurn(async () => {
        const excess = Math.max(0, this.#appliedCount() - this.#options.keepAppliedSegments);
        // What lost its records to a later segment at a start is no history either, wherever it stands.
        const emptied = this.#segments.slice(excess, -1).filter((one) => one.runs.length === 0 && !one.poisoned);
        for (const one of [...this.#segments.slice(0, excess), ...emptied]) await this.#free(one, SPARES_MAX);
      });
    } catch (error) {
      this.#options.onEvent({ type: 'upkeep-failed', what: 'recycling a segment', error });
    }
  }

  async close(): Promise<void> {
    const prepared = await this.#prepared;
    this.#prepared = undefined;
    await this.#upkeep;
    await prepared?.file.close();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#upkeep.then(work);
    this.#upkeep = done.catch(() => undefined);
    return done;
  }

  /** How many segments, from the oldest on, hold applied records only. The newest is never among them. */
  #appliedCount(): number {
    const firstLeft = this.#segments.findIndex((segment) => !isBehind(segment, this.#applied));
    return Math.min(firstLeft < 0 ? this.#segments.length : firstLeft, this.#segments.length - 1);
  }

  async #prepare(beyondQuota: boolean): Promise<OpenSegment> {
    const { disk, folder, segmentBytes } = this.#options;
    const number = this.#lastSegment + 1;
    const identity = segmentIdentity(number, randomBytes(8).readBigUInt64LE());
    let path = join(folder, await this.#takeSpare(beyondQuota));
    const file = await disk.open(path, 'write');
    try {
      await writeFully(file, encodeSegmentHeader(identity), 0);
      await file.sync();
      const segmentPath = join(folder, segmentName(number));
      await disk.rename(path, segmentPath);
      path = segmentPath;
      await disk.syncFolder(folder);
    } catch (reason) {
      await this.#discard(file, path);
      throw reason;
    }
    this.#lastSegment = number;
    const segment: Segment = { identity, path, sizeBytes: segmentBytes, runs: [], poisoned: false };
    return { segment, file, endOffset: SEGMENT_HEADER_BYTES };
  }

  /** The name of a file of full size: a spare one, else a new one, else, at the quota, the oldest applied segment. */
  async #takeSpare(beyondQuota: boolean): Promise<string> {
    const { quotaBytes, segmentBytes } = this.#options;
    if (this.#spares.length === 0) {
      if (beyondQuota || (this.#segments.length + 1) * segmentBytes <= quotaBytes) return this.#makeSpare();
      const oldest = this.#segments[0];
      if (oldest === undefined || this.#appliedCount() === 0) {
        const message = `the spool has reached its quota of ${quotaBytes} bytes with nothing applied to make room`;
        throw new NotNow('resource_exhausted', NO_ROOM_RETRY_AFTER_MS, message);
      }
      await this.#free(oldest, 1);
      return this.#takeSpare(false);
    }
    return this.#spares.shift() ?? this.#makeSpare();
  }

  /** Writes zeros over the whole length, so that later syncs have no block to allocate and no size to record. */
  async #makeSpare(): Promise<string> {
    const { disk, folder, segmentBytes, freeDiskBytesMin } = this.#options;
    const freeBytes = await disk.freeBytes(folder);
    if (freeBytes < segmentBytes + freeDiskBytesMin) {
      const message = `the disk of the spool has ${freeBytes} bytes free, too few for a segment of ${segmentBytes}`;
      throw new NotNow('resource_exhausted', NO_ROOM_RETRY_AFTER_MS, message);
    }
    const name = `spare-${++this.#spareNumber}`;
    const path = join(folder, name);
    const file = await disk.open(path, 'create');
    try {
      for (let at = 0; at < segmentBytes; at += ZEROS.length) {
        await writeFully(file, ZEROS.subarray(0, Math.min(ZEROS.length, segmentBytes - at)), at);
        await file.sync();
      }
    } catch (reason) {
      await this.#discard(file, path);
      throw reason;
    }
    await file.close();
    return name;
  }

  /** Makes a segment a spare where fewer than `sparesMax` are there and it is fit for it; else removes it. */
  async #free(segment: Segment, sparesMax: number): Promise<void> {
    const { disk, folder, segmentBytes } = this.#options;
    if (segment.poisoned || segment.sizeBytes !== segmentBytes || this.#spares.length >= sparesMax) {
      await disk.remove(segment.path);
    } else {
      const name = `spare-${++this.#spareNumber}`;
      await disk.rename(segment.path, join(folder, name));
      this.#spares.push(name);
    }
    this.#segments.splice(this.#segments.indexOf(segment), 1);
    // On disk before anything else happens: the old name must not come back with a new header inside.
    await disk.syncFolder(folder);
  }

  async #discard(file: SpoolFile, path: string): Promise<void> {
    try {
      await file.close();
      await this.#options.disk.remove(path);
    } catch (error) {
      this.#options.onEvent({ type: 'upkeep-failed', what: `removing ${path}`, error });
    }
  }
}
