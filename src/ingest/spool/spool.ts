import { systemClock, type Clock } from '../../lib/clock.ts';
import { CallerFault, NotNow } from '../../lib/failure.ts';
import type { AppendTimes } from './append-times.ts';
import { AppliedMark } from './applied-mark.ts';
import { realDisk, type SpoolDisk } from './disk.ts';
import { DiskRoom } from './disk-room.ts';
import type { RefusalReason, SpoolListener } from './events.ts';
import { FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES, frameBytes, SEGMENT_HEADER_BYTES } from './format.ts';
import { GroupCommit } from './group-commit.ts';
import { Quarantine } from './quarantine.ts';
import { RecordReader, type Batch } from './record-reader.ts';
import { recover } from './recovery.ts';
import type { Recovered } from './recovery-walk.ts';
import { amountAfter, runsAfter, type Position } from './segment.ts';
import { SegmentShelf } from './segment-shelf.ts';

const MIB = 1024 * 1024;
const RETRY_AFTER_MS = 1000;

export interface SpoolOptions {
  /** Made where it is not there. One spool, of one process, to a folder. */
  readonly folder: string;
  /** What all segment files together may take up on disk; at least four segments. */
  readonly quotaBytes: number;
  /** 64 MiB where left out. */
  readonly segmentBytes?: number;
  /** Segments that stay as history behind the applied mark, for `onRecord` at the next start. 4 where left out. */
  readonly keepAppliedSegments?: number;
  /** What is written and synced at once, and so the bound on a record too. 4 MiB where left out. */
  readonly groupBytesMax?: number;
  /** With less than this free on the disk nothing is taken. 0 where left out. */
  readonly freeDiskBytesMin?: number;
  /** How long, in milliseconds, until so many bytes more have been marked as applied, for who has to come again. 1000 where left out. */
  readonly retryAfterMs?: (bytes: number) => number;
  readonly disk?: SpoolDisk;
  readonly clock?: Clock;
  /** Told while opening of every whole record found, applied or not, oldest first. The bytes are lent for the call. */
  readonly onRecord?: (payload: Uint8Array) => void;
  readonly onEvent?: SpoolListener;
}

type Settings = Required<SpoolOptions>;

/** `failed`: nothing more can be written, what is on disk can still be read. */
export type SpoolState = 'open' | 'failed' | 'closed';

export interface SpoolStats {
  readonly state: SpoolState;
  /** The last record that is on disk, and the last one that is marked as applied. */
  readonly lastRecord: number;
  readonly appliedRecord: number;
  readonly unappliedRecords: number;
  readonly unappliedBytes: number;
  /** 0 where nothing is unapplied; to the second. */
  readonly oldestUnappliedAgeMs: number;
  readonly quotaBytes: number;
  readonly segments: number;
}

interface Parts {
  readonly settings: Settings;
  readonly mark: AppliedMark;
  readonly shelf: SegmentShelf;
  readonly quarantine: Quarantine;
  readonly recovered: Recovered;
}

/**
 * Records on disk, in order, until they are marked as applied. README.md has the promises and the format.
 *
 * Modes: open → failed (two segments in a row could not be written) → closed; or open → closed. `append` works while
 * open only; `read` and `markApplied` until closed.
 */
export class Spool {
  readonly #settings: Settings;
  readonly #mark: AppliedMark;
  readonly #shelf: SegmentShelf;
  readonly #commit: GroupCommit;
  readonly #reader: RecordReader;
  readonly #room: DiskRoom;
  readonly #times: AppendTimes;
  readonly #waiters = new Set<() => void>();
  #unappliedBytes = 0;
  #marking: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;

  private constructor({ settings, mark, shelf, quarantine, recovered }: Parts) {
    this.#settings = settings;
    this.#mark = mark;
    this.#shelf = shelf;
    this.#times = recovered.times;
    this.#room = new DiskRoom(settings);
    const { disk, groupBytesMax, onEvent } = settings;
    this.#commit = new GroupCommit({
      shelf,
      groupBytesMax,
      lastRecord: recovered.lastRecord,
      onEvent,
      onSynced: (group) => this.#afterSync(group.bytes, group.firstAtMs),
    });
    this.#reader = new RecordReader({ disk, segments: shelf.segments, recordBytesMax: groupBytesMax, quarantine });
    this.#unappliedBytes = amountAfter(shelf.segments, mark.mark.applied).bytes;
  }

  /**
   * Opens the spool of a folder and looks through all that is in it.
   * @throws Error where an option is out of bounds, a segment is of another format version, or the disk fails
   */
  static async open(options: SpoolOptions): Promise<Spool> {
    const startedMs = performance.now();
    const settings = withDefaults(options);
    const { disk, folder, onEvent } = settings;
    await disk.makeFolder(folder);
    const quarantine = await Quarantine.open(disk, folder, onEvent);
    const found = await AppliedMark.open(disk, folder);
    const recovered = await recover({ ...settings, quarantine, mark: found?.mark });
    // Before the first segment: segments without a mark are a sign of damage.
    const mark = found ?? (await AppliedMark.create(disk, folder));
    const shelf = new SegmentShelf(settings, { ...recovered, applied: mark.mark.applied });
    const spool = new Spool({ settings, mark, shelf, quarantine, recovered });
    await spool.#secure(recovered.tail);
    await spool.#room.check();
    await shelf.retire(mark.mark.applied);
    const { segments, records, bytes } = recovered;
    const unappliedRecords = spool.stats().unappliedRecords;
    const durationMs = performance.now() - startedMs;
    onEvent({ type: 'recovered', segments: segments.length, records, bytes, unappliedRecords, durationMs });
    return spool;
  }

  /**
   * Writes the last group anew where nobody knows whether it was synced. Records that were told to `onRecord` may be
   * answered as known, so from here on they have to be as safe as those that were acknowledged.
   */
  async #secure(tail: Recovered['tail']): Promise<void> {
    await this.#shelf.prepareAhead({ beyondQuota: tail.length > 0 });
    const appends = tail.map(({ payload, writtenAtMs }) => this.#commit.append([payload], payload.length, writtenAtMs));
    await Promise.all(appends);
  }

  get state(): SpoolState {
    if (this.#closed !== undefined) return 'closed';
    return this.#commit.failed ? 'failed' : 'open';
  }

  /** What a record may have at most. */
  get recordBytesMax(): number {
    const bytes = this.#settings.groupBytesMax - FRAME_HEADER_BYTES;
    return bytes - (bytes % FRAME_ALIGN_BYTES);
  }

  /**
   * Takes a record; resolves once it is on disk, never earlier. The bytes may be reused as soon as the call returns its
   * promise. Where it rejects, the record may still turn up after a restart.
   * @param payload the record, or its parts in order; at least one byte
   * @throws NotNow where the spool or the disk is full; CallerFault where the record is too large; Error once the spool
   * has failed or was closed
   */
  async append(payload: Uint8Array | readonly Uint8Array[]): Promise<void> {
    const parts = payload instanceof Uint8Array ? [payload] : payload;
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    if (this.#closed !== undefined) throw new Error('the spool is closed');
    if (bytes === 0) throw new Error('a spool record needs at least one byte');
    if (bytes > this.recordBytesMax) {
      const message = `a record of ${bytes} bytes is more than the spool's ${this.recordBytesMax}: send less at a time`;
      throw new CallerFault('invalid_argument', '', message);
    }
    this.#refuseWithoutRoom(frameBytes(bytes));
    await this.#commit.append(parts, bytes, this.#settings.clock.nowMs());
  }

  /**
   * Records that are on disk: at least one, at most `bytesMax` bytes where there is more than one. One reader at a time.
   * @param after where they start: the oldest that are not marked as applied where left out
   * @returns undefined where there are none
   * @throws the error of the disk; Error where the spool is closed
   */
  async read(bytesMax: number, after?: Position): Promise<Batch | undefined> {
    if (this.#closed !== undefined) throw new Error('the spool is closed');
    for (let from = after; ;) {
      const batch = await this.#reader.read(from ?? this.#mark.mark.applied, bytesMax);
      if (batch === undefined || batch.payloads.length > 0) return batch;
      // Nothing but places of lost records: there is nothing to store.
      if (from === undefined) await this.markApplied(batch.end);
      else from = batch.end;
    }
  }

  /** Resolves when there is something to read, `signal` fires or the spool is closed. */
  async waitForRecords(signal: AbortSignal): Promise<void> {
    if (this.#hasRecords() || signal.aborted || this.#closed !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    this.#waiters.add(wake);
    signal.addEventListener('abort', wake);
    await promise;
    this.#waiters.delete(wake);
    signal.removeEventListener('abort', wake);
  }

  /**
   * Records that all before `position` is stored elsewhere; when it returns, that is on disk, and only then are segments
   * behind it recycled. A position at or before the last one changes nothing.
   * @throws the error of the disk, and then nothing changed; Error where the spool is closed or never held that much
   */
  async markApplied(position: Position): Promise<void> {
    if (this.#closed !== undefined) throw new Error('the spool is closed');
    if (position.record > this.#commit.lastRecord) {
      throw new Error(`position ${position.record} is behind the last record ${this.#commit.lastRecord}`);
    }
    const marked = this.#marking.then(() => this.#writeMark(position));
    this.#marking = marked.catch(() => undefined);
    await marked;
  }

  stats(): SpoolStats {
    const { segments } = this.#shelf;
    const unapplied = amountAfter(segments, this.#mark.mark.applied);
    const oldestMs = unapplied.records > 0 ? this.#times.oldestMs : undefined;
    return {
      state: this.state,
      lastRecord: this.#commit.lastRecord,
      appliedRecord: this.#mark.mark.applied.record,
      unappliedRecords: unapplied.records,
      unappliedBytes: unapplied.bytes,
      oldestUnappliedAgeMs: oldestMs === undefined ? 0 : Math.max(0, this.#settings.clock.nowMs() - oldestMs),
      quotaBytes: this.#settings.quotaBytes,
      segments: segments.length,
    };
  }

  /** Takes nothing more, waits for what was taken, closes the files. Harmless twice. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#commit.settle();
    await this.#marking;
    for (const wake of this.#waiters) wake();
    await this.#noteDurable();
    await this.#commit.close();
    await this.#shelf.close();
    await this.#reader.close();
    await this.#mark.close();
  }

  /** Tells the next start that the last group was synced. Without, it is written again then, which does no harm. */
  async #noteDurable(): Promise<void> {
    const { applied, durableRecord } = this.#mark.mark;
    if (durableRecord >= this.#commit.lastRecord) return;
    try {
      await this.#mark.write({ applied, durableRecord: this.#commit.lastRecord });
    } catch (error) {
      this.#settings.onEvent({ type: 'upkeep-failed', what: 'writing the mark at the end', error });
    }
  }

  async #writeMark(position: Position): Promise<void> {
    if (position.record <= this.#mark.mark.applied.record) return;
    await this.#mark.write({ applied: position, durableRecord: this.#commit.lastRecord });
    this.#times.forget(position.record);
    this.#unappliedBytes = amountAfter(this.#shelf.segments, position).bytes;
    await this.#shelf.retire(position);
  }

  #afterSync(bytes: number, firstAtMs: number): void {
    this.#unappliedBytes += bytes;
    this.#times.add(this.#commit.lastRecord, firstAtMs);
    for (const wake of this.#waiters) wake();
  }

  #hasRecords(): boolean {
    return runsAfter(this.#shelf.segments, this.#mark.mark.applied).next().done !== true;
  }

  /** @throws NotNow */
  #refuseWithoutRoom(bytes: number): void {
    const { quotaBytes, freeDiskBytesMin, retryAfterMs } = this.#settings;
    const bytesMax = Math.floor((quotaBytes / 5) * 4);
    const bytesHeld = this.#unappliedBytes + this.#commit.bytesPending;
    const bytesOver = bytesHeld + bytes - bytesMax;
    if (bytesOver > 0) {
      const message = `the spool holds ${bytesHeld} bytes that are not stored yet, and takes at most ${bytesMax}`;
      this.#refuse('quota', retryAfterMs(bytesOver), message);
    }
    if (this.#room.low) {
      const message = `the disk of the spool has less than ${freeDiskBytesMin} bytes free`;
      this.#refuse('disk', RETRY_AFTER_MS, message);
    }
  }

  #refuse(reason: RefusalReason, retryAfterMs: number, message: string): never {
    this.#settings.onEvent({ type: 'refused', reason });
    throw new NotNow('resource_exhausted', retryAfterMs, message);
  }
}

function withDefaults(options: SpoolOptions): Settings {
  const settings = {
    segmentBytes: 64 * MIB,
    keepAppliedSegments: 4,
    groupBytesMax: 4 * MIB,
    freeDiskBytesMin: 0,
    retryAfterMs: () => RETRY_AFTER_MS,
    disk: realDisk,
    clock: systemClock,
    onRecord: () => undefined,
    onEvent: () => undefined,
    ...options,
  };
  const { segmentBytes, groupBytesMax, quotaBytes } = settings;
  if (groupBytesMax < 2 * FRAME_HEADER_BYTES || groupBytesMax > segmentBytes - SEGMENT_HEADER_BYTES) {
    throw new Error(`groupBytesMax: ${groupBytesMax} must be at least 64 and leave room in ${segmentBytes} bytes`);
  }
  if (quotaBytes < 4 * segmentBytes) {
    throw new Error(`quotaBytes: ${quotaBytes} is less than four segments of ${segmentBytes} bytes`);
  }
  return settings;
}
