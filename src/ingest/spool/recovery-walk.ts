import { AppendTimes } from './append-times.ts';
import type { Mark } from './applied-mark.ts';
import { readFully, type SpoolDisk } from './disk.ts';
import type { Damage } from './events.ts';
import { SEGMENT_HEADER_BYTES, type Frame } from './format.ts';
import type { Quarantine } from './quarantine.ts';
import { framesOf, scanSegment } from './scan.ts';
import type { Run, Segment } from './segment.ts';

export interface RecoveryOptions {
  readonly disk: SpoolDisk;
  readonly folder: string;
  readonly segmentBytes: number;
  readonly quarantine: Quarantine;
  /** `undefined` where it was lost: then nothing is known to be applied. */
  readonly mark: Mark | undefined;
  readonly onRecord: (payload: Uint8Array) => void;
}

export interface Recovered {
  readonly segments: Segment[];
  readonly spares: string[];
  readonly lastSegment: number;
  /** The last record before the tail; at least as far as the mark says. */
  readonly lastRecord: number;
  /**
   * The last group, where nothing tells whether it was synced: it may be in the page cache only, and after a failed
   * sync even another sync would not bring it to disk. It is to be written again, to a fresh segment, under the same
   * numbers. A payload without bytes stands for a record that is lost.
   */
  readonly tail: readonly TailRecord[];
  readonly times: AppendTimes;
  readonly records: number;
  readonly bytes: number;
}

export interface TailRecord {
  readonly payload: Uint8Array;
  readonly writtenAtMs: number;
}

/** A segment file at the first look. */
export interface Peeked {
  readonly segment: Segment;
  /** `undefined` where it holds no whole frame. */
  readonly firstRecord: number | undefined;
  readonly headerBad: boolean;
}

/** A bad span in the last group: whether a record is lost shows once every copy of the group was seen. */
interface TornSpan {
  readonly damage: Pick<Damage, 'reason' | 'segment' | 'offset' | 'bytes'>;
  readonly firstRecord: number;
  readonly lastRecord: number;
  readonly copy: Buffer;
}

/** One pass over the segments, in order; keeps count of what should come next. */
export class Walk {
  readonly #options: RecoveryOptions;
  readonly #appliedRecord: number;
  /** From which record on nothing is known to be synced, and the newest segment that holds such. */
  readonly #unsure: { readonly segment: Segment | undefined; readonly fromRecord: number };
  readonly #times = new AppendTimes();
  readonly #tail = new Map<number, TailRecord>();
  #tailLastRecord = 0;
  readonly #torn: TornSpan[] = [];
  #buffer = Buffer.alloc(0);
  /** `undefined` before the first record: how far the recycled ones went is not known. */
  #lastRecord: number | undefined;
  #before: { readonly number: number; readonly endOffset: number } | undefined;
  #records = 0;
  #bytes = 0;

  constructor(options: RecoveryOptions, unsure: { segment: Segment | undefined; fromRecord: number }) {
    this.#options = options;
    this.#unsure = unsure;
    this.#appliedRecord = options.mark?.applied.record ?? 0;
    // Where nothing was applied yet, nothing can have been recycled.
    this.#lastRecord = options.mark?.applied.record === 0 ? 0 : undefined;
  }

  /** Delivers the records of a segment that come before `limitRecord`, and notes their runs in it. */
  async take({ segment, headerBad }: Peeked, limitRecord: number): Promise<void> {
    const bytes = await this.#load(segment);
    if (headerBad) await this.#reportHeader(segment, bytes);
    const endRecord = Math.min(limitRecord, this.#unsure.fromRecord);
    let endOffset = SEGMENT_HEADER_BYTES;
    let lastRecord = this.#lastRecord ?? this.#unsure.fromRecord - 1;
    for (const run of headerBad ? [] : scanSegment(bytes, segment.identity).runs) {
      if (run.firstRecord < endRecord) {
        await this.#checkBefore(segment, run, bytes, endOffset);
        const kept = this.#tellRun(segment, run, bytes, endRecord);
        segment.runs = [...segment.runs, kept];
        this.#before = { number: segment.identity.number, endOffset: kept.endOffset };
        this.#lastRecord = kept.lastRecord;
      } else if (segment === this.#unsure.segment) {
        if (run.startOffset > endOffset) this.#noteTorn(segment, run, bytes, { endOffset, lastRecord });
        else await this.#checkBefore(segment, run, bytes, endOffset);
      }
      this.#keepTail(segment, run, bytes);
      endOffset = run.endOffset;
      lastRecord = run.lastRecord;
    }
    this.#before = { number: segment.identity.number, endOffset };
  }

  async finish(segments: Segment[], spares: string[]): Promise<Recovered> {
    for (const span of this.#torn) await this.#reportTorn(span);
    const { mark } = this.#options;
    const tail = this.#wholeTail();
    for (const { payload } of tail) if (payload.length > 0) this.#options.onRecord(payload);
    const foundRecord = Math.max(this.#lastRecord ?? 0, this.#appliedRecord, this.#tailLastRecord);
    if (mark !== undefined && mark.durableRecord > foundRecord) await this.#reportEnd(mark.durableRecord - foundRecord);
    return {
      segments,
      spares,
      lastSegment: Math.max(segments.at(-1)?.identity.number ?? 0, mark?.applied.segment ?? 0),
      lastRecord: tail.length > 0 ? this.#unsure.fromRecord - 1 : Math.max(foundRecord, mark?.durableRecord ?? 0),
      tail,
      times: this.#times,
      records: this.#records + this.#tail.size,
      bytes: this.#bytes,
    };
  }

  async #load(segment: Segment): Promise<Buffer> {
    if (this.#buffer.length < segment.sizeBytes) this.#buffer = Buffer.allocUnsafeSlow(segment.sizeBytes);
    const file = await this.#options.disk.open(segment.path, 'read');
    try {
      const bytes = this.#buffer.subarray(0, segment.sizeBytes);
      return bytes.subarray(0, await readFully(file, bytes, 0));
    } finally {
      await file.close();
    }
  }

  /** Tells `onRecord` of a run's records before `endRecord`. @returns the run up to there */
  #tellRun(segment: Segment, run: Run, bytes: Buffer, endRecord: number): Run {
    let endOffset = run.startOffset;
    let lastRecord = run.firstRecord - 1;
    for (const frame of framesOf(bytes, 0, run, segment.identity)) {
      if (frame.record >= endRecord) break;
      if (frame.payloadBytes > 0) this.#options.onRecord(payloadOf(bytes, frame));
      if (frame.record > this.#appliedRecord) this.#times.add(frame.record, frame.writtenAtMs);
      endOffset = frame.endOffset;
      lastRecord = frame.record;
    }
    this.#records += lastRecord - run.firstRecord + 1;
    this.#bytes += endOffset - run.startOffset;
    return { ...run, endOffset, lastRecord };
  }

  /** Copies what is not known to be synced. Of two copies of a record the later one counts. */
  #keepTail(segment: Segment, run: Run, bytes: Buffer): void {
    if (run.lastRecord < this.#unsure.fromRecord) return;
    for (const frame of framesOf(bytes, 0, run, segment.identity)) {
      if (frame.record < this.#unsure.fromRecord) continue;
      this.#tailLastRecord = Math.max(this.#tailLastRecord, frame.record);
      this.#tail.set(frame.record, { payload: Buffer.from(payloadOf(bytes, frame)), writtenAtMs: frame.writtenAtMs });
    }
  }

  /** The tail without gaps, so that its records keep their numbers when they are written again. */
  #wholeTail(): TailRecord[] {
    const [some] = this.#tail.values();
    if (some === undefined) return [];
    const { fromRecord } = this.#unsure;
    // They came together: one that is lost is as old as the others.
    const nowhere = { payload: Buffer.alloc(0), writtenAtMs: some.writtenAtMs };
    const count = this.#tailLastRecord - fromRecord + 1;
    return Array.from({ length: count }, (_, index) => this.#tail.get(fromRecord + index) ?? nowhere);
  }

  /** Tells of whatever is missing right before a run. */
  async #checkBefore(segment: Segment, run: Run, bytes: Buffer, startOffset: number): Promise<void> {
    if (run.startOffset === startOffset) {
      const nextRecord = (this.#lastRecord ?? this.#appliedRecord) + 1;
      const known = this.#lastRecord !== undefined || this.#options.mark !== undefined;
      if (known && run.firstRecord > nextRecord) await this.#reportMissing(segment, run.firstRecord);
      return;
    }
    const where = { segment: segment.identity.number, offset: startOffset, bytes: run.startOffset - startOffset };
    const lost = { ...this.#lostBefore(run.firstRecord), acknowledged: 'certainly' } as const;
    const copy = bytes.subarray(startOffset, run.startOffset);
    await this.#options.quarantine.report({ reason: 'frame', ...where, ...lost }, copy);
  }

  #noteTorn(segment: Segment, run: Run, bytes: Buffer, before: Pick<Run, 'endOffset' | 'lastRecord'>): void {
    const offset = before.endOffset;
    this.#torn.push({
      damage: { reason: 'frame', segment: segment.identity.number, offset, bytes: run.startOffset - offset },
      firstRecord: before.lastRecord + 1,
      lastRecord: run.firstRecord - 1,
      copy: Buffer.from(bytes.subarray(offset, run.startOffset)),
    });
  }

  async #reportTorn({ damage, firstRecord, lastRecord, copy }: TornSpan): Promise<void> {
    let lostRecords = 0;
    for (let record = firstRecord; record <= lastRecord; record++) if (!this.#tail.has(record)) lostRecords++;
    if (lostRecords === 0) return;
    const acknowledged = firstRecord < this.#unsure.fromRecord ? 'certainly' : 'possibly';
    await this.#options.quarantine.report({ ...damage, lostRecords, lostUnapplied: lostRecords, acknowledged }, copy);
  }

  async #reportEnd(lostRecords: number): Promise<void> {
    const { number, endOffset } = this.#before ?? { number: 0, endOffset: 0 };
    const where = { segment: number, offset: endOffset, bytes: 0 };
    const lost = { lostRecords, lostUnapplied: lostRecords, acknowledged: 'certainly' } as const;
    await this.#options.quarantine.report({ reason: 'spool-end', ...where, ...lost }, Buffer.alloc(0));
  }

  /** Tells of records missing at the end of the segment before, or with the segments before. */
  async #reportMissing(segment: Segment, nextRecord: number): Promise<void> {
    const before = this.#before ?? { number: 0, endOffset: 0 };
    const reason = before.number + 1 < segment.identity.number ? 'segment-missing' : 'segment-end';
    const where = { segment: before.number, offset: before.endOffset, bytes: 0 };
    const lost = { ...this.#lostBefore(nextRecord), acknowledged: 'certainly' } as const;
    await this.#options.quarantine.report({ reason, ...where, ...lost }, Buffer.alloc(0));
  }

  /** What the records were can be told only from those behind; they are counted there. */
  async #reportHeader(segment: Segment, bytes: Buffer): Promise<void> {
    const where = { segment: segment.identity.number, offset: 0, bytes: bytes.length };
    const lost = { lostRecords: undefined, lostUnapplied: 0, acknowledged: 'possibly' } as const;
    await this.#options.quarantine.report({ reason: 'header', ...where, ...lost }, bytes);
  }

  #lostBefore(record: number): Pick<Damage, 'lostRecords' | 'lostUnapplied'> {
    const lastRecord = this.#lastRecord ?? (this.#options.mark === undefined ? record - 1 : this.#appliedRecord);
    return {
      lostRecords: this.#lastRecord === undefined ? undefined : record - lastRecord - 1,
      lostUnapplied: Math.max(0, record - 1 - Math.max(lastRecord, this.#appliedRecord)),
    };
  }
}

function payloadOf(bytes: Buffer, frame: Frame): Buffer {
  return bytes.subarray(frame.payloadOffset, frame.payloadOffset + frame.payloadBytes);
}
