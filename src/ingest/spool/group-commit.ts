import { setImmediate as nextTurn } from 'node:timers/promises';
import { NotNow } from '../../lib/failure.ts';
import { isNoSpace, writeFully } from './disk.ts';
import type { SpoolListener } from './events.ts';
import { Group } from './group.ts';
import { extendRuns, type Segment } from './segment.ts';
import type { OpenSegment, SegmentShelf } from './segment-shelf.ts';

/** How many groups may wait for their turn; more than that is turned away. */
const GROUPS_WAITING_MAX = 16;
/** How many buffers are kept for the next groups: one being filled while another is being written. */
const BUFFERS_KEPT = 2;
const QUEUE_RETRY_AFTER_MS = 200;
const NO_SPACE_RETRY_AFTER_MS = 1000;

export interface GroupCommitOptions {
  readonly shelf: SegmentShelf;
  readonly groupBytesMax: number;
  /** The last record that is on disk. */
  readonly lastRecord: number;
  /** Told of each synced group, before its appends are resolved. */
  readonly onSynced: (group: Group) => void;
  readonly onEvent: SpoolListener;
}

/**
 * Writes groups, one at a time; the next one fills while one is under way. A group starts as soon as none is under way:
 * waiting for more was measured, and costs latency without carrying more.
 *
 * Modes: idle (nothing waits) → committing (one group under way, up to 16 waiting) → idle; failed, for good, once a
 * group could be written to neither of two segments.
 */
export class GroupCommit {
  readonly #options: GroupCommitOptions;
  readonly #waiting: Group[] = [];
  readonly #buffers: Buffer[] = [];
  #active: OpenSegment | undefined;
  #lastRecord: number;
  #bytesUnderWay = 0;
  #running: Promise<void> | undefined;
  #failure: Error | undefined;

  constructor(options: GroupCommitOptions) {
    this.#options = options;
    this.#lastRecord = options.lastRecord;
  }

  /** The last record that is on disk. */
  get lastRecord(): number {
    return this.#lastRecord;
  }

  /** What was taken and is not on disk yet. */
  get bytesPending(): number {
    return this.#waiting.reduce((bytes, group) => bytes + group.bytes, this.#bytesUnderWay);
  }

  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /**
   * Takes a record of at most a group's size; resolves once it is on disk.
   * @throws NotNow where too much waits already, or the disk is full; Error once the spool has failed
   */
  append(parts: readonly Uint8Array[], payloadBytes: number, nowMs: number): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    let group = this.#waiting.at(-1);
    if (group === undefined || !group.fits(payloadBytes)) {
      if (this.#waiting.length >= GROUPS_WAITING_MAX) return Promise.reject(this.#refuseForQueue());
      group = new Group(this.#buffers.pop() ?? Buffer.allocUnsafeSlow(this.#options.groupBytesMax));
      this.#waiting.push(group);
    }
    group.add(parts, payloadBytes, nowMs);
    this.#running ??= this.#run();
    return group.synced;
  }

  /** Resolves when nothing that was taken is left to write. */
  async settle(): Promise<void> {
    await this.#running;
  }

  /** Call after `settle`. */
  async close(): Promise<void> {
    const active = this.#active;
    this.#active = undefined;
    await active?.file.close();
  }

  async #run(): Promise<void> {
    // One turn of the event loop, so that calls that came in together share the first group.
    await nextTurn();
    for (let group = this.#waiting.shift(); group !== undefined; group = this.#waiting.shift()) {
      this.#bytesUnderWay = group.bytes;
      await this.#commit(group);
      this.#bytesUnderWay = 0;
      if (this.#buffers.length < BUFFERS_KEPT) this.#buffers.push(group.buffer);
    }
    this.#running = undefined;
  }

  /** Settles the group, whatever happens. */
  async #commit(group: Group): Promise<void> {
    const startedMs = performance.now();
    try {
      if (this.#failure !== undefined) throw this.#failure;
      await this.#writeTwice(group);
    } catch (reason) {
      group.reject(reason);
      return;
    }
    group.resolve();
    const durationMs = performance.now() - startedMs;
    this.#options.onEvent({ type: 'group-synced', bytes: group.bytes, records: group.records, durationMs });
  }

  /** Tries a fresh segment where the first try failed. A full disk is no failure of a segment: that is told at once. */
  async #writeTwice(group: Group): Promise<void> {
    try {
      return await this.#write(group);
    } catch (reason) {
      if (reason instanceof NotNow) throw reason;
    }
    try {
      await this.#write(group);
    } catch (reason) {
      if (reason instanceof NotNow) throw reason;
      this.#failure = new Error('the spool failed: two segments in a row could not be written', { cause: reason });
      this.#options.onEvent({ type: 'failed', error: reason });
      throw this.#failure;
    }
  }

  async #write(group: Group): Promise<void> {
    const target = await this.#target(group.bytes);
    const { segment, endOffset } = target;
    try {
      await writeFully(target.file, group.seal(segment.identity, endOffset, this.#lastRecord + 1), endOffset);
      await target.file.sync();
    } catch (reason) {
      await this.#poison(segment, reason);
      throw isNoSpace(reason) ? noSpace() : reason;
    }
    const firstRecord = this.#lastRecord + 1;
    const lastRecord = this.#lastRecord + group.records;
    target.endOffset += group.bytes;
    extendRuns(segment, { startOffset: endOffset, endOffset: target.endOffset, firstRecord, lastRecord });
    this.#lastRecord = lastRecord;
    this.#options.onSynced(group);
  }

  /** The segment at hand where the group fits, else the next one. */
  async #target(bytes: number): Promise<OpenSegment> {
    if (this.#active !== undefined) {
      if (this.#active.endOffset + bytes <= this.#active.segment.sizeBytes) return this.#active;
      await this.#leaveActive();
    }
    try {
      this.#active = await this.#options.shelf.take();
    } catch (reason) {
      throw isNoSpace(reason) ? noSpace() : reason;
    }
    return this.#active;
  }

  async #poison(segment: Segment, error: unknown): Promise<void> {
    segment.poisoned = true;
    this.#options.onEvent({ type: 'poisoned', segment: segment.identity.number, error });
    await this.#leaveActive();
  }

  async #leaveActive(): Promise<void> {
    try {
      await this.close();
    } catch (error) {
      this.#options.onEvent({ type: 'upkeep-failed', what: 'closing a segment', error });
    }
  }

  #refuseForQueue(): NotNow {
    this.#options.onEvent({ type: 'refused', reason: 'queue' });
    const message = `the spool has ${GROUPS_WAITING_MAX} groups of records waiting to be written, and takes no more`;
    return new NotNow('resource_exhausted', QUEUE_RETRY_AFTER_MS, message);
  }
}

function noSpace(): NotNow {
  return new NotNow('resource_exhausted', NO_SPACE_RETRY_AFTER_MS, 'the disk of the spool is full');
}
