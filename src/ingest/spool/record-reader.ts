import { readFully, type SpoolDisk, type SpoolFile } from './disk.ts';
import { FRAME_HEADER_BYTES } from './format.ts';
import type { Quarantine } from './quarantine.ts';
import { compareRuns, framesOf, scanSegment } from './scan.ts';
import { runsAfter, type Position, type Run, type Segment } from './segment.ts';

/** Records in the order they were appended, all of them on disk. */
export interface Batch {
  /** They share a buffer that the next read uses again: be done with them by then. None where only places of lost records were found. */
  readonly payloads: readonly Uint8Array[];
  /** The number of each of them. */
  readonly records: readonly number[];
  /** Behind the last of them. */
  readonly end: Position;
}

/** How often a read is tried again after a look through the segment, which takes what is bad out of its runs. */
const LOOKS_MAX = 3;

/** Reads what is on disk, checking each record again. Newest records come from the page cache. */
export class RecordReader {
  readonly #disk: SpoolDisk;
  readonly #segments: readonly Segment[];
  readonly #recordBytesMax: number;
  readonly #quarantine: Quarantine;
  #buffer = Buffer.alloc(0);
  #open: { readonly path: string; readonly file: SpoolFile } | undefined;

  constructor(options: {
    readonly disk: SpoolDisk;
    readonly segments: readonly Segment[];
    readonly recordBytesMax: number;
    readonly quarantine: Quarantine;
  }) {
    this.#disk = options.disk;
    this.#segments = options.segments;
    this.#recordBytesMax = options.recordBytesMax;
    this.#quarantine = options.quarantine;
  }

  /**
   * The next records behind `after`: at least one, at most `bytesMax` bytes where there is more than one, and fewer
   * where a segment ends. Bytes that went bad since they were last looked at are told of and left out.
   * @returns undefined where there are none
   * @throws the error of the disk
   */
  async read(after: Position, bytesMax: number): Promise<Batch | undefined> {
    for (let looks = 0; ; looks++) {
      const run = runsAfter(this.#segments, after).next().value;
      if (run === undefined) return undefined;
      const batch = await this.#readRun(run, run.segment, bytesMax);
      if (batch !== undefined) return batch;
      if (looks === LOOKS_MAX)
        throw new Error(`${run.segment.path} reads differently each time; the disk is not sound`);
      await this.#lookAgain(run.segment, after.record);
    }
  }

  async close(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.file.close();
  }

  async #readRun(run: Run, segment: Segment, bytesMax: number): Promise<Batch | undefined> {
    const wanted = Math.max(bytesMax, this.#recordBytesMax + FRAME_HEADER_BYTES);
    const target = this.#bufferOf(Math.min(wanted, run.endOffset - run.startOffset));
    const file = await this.#fileOf(segment);
    const bytes = target.subarray(0, await readFully(file, target, run.startOffset));
    const payloads: Uint8Array[] = [];
    const records: number[] = [];
    let payloadBytes = 0;
    let end: Position | undefined;
    for (const frame of framesOf(bytes, run.startOffset, run, segment.identity)) {
      payloadBytes += frame.payloadBytes;
      if (payloads.length > 0 && payloadBytes > bytesMax) break;
      const at = frame.payloadOffset - run.startOffset;
      if (frame.payloadBytes > 0) {
        payloads.push(bytes.subarray(at, at + frame.payloadBytes));
        records.push(frame.record);
      }
      end = { record: frame.record, segment: segment.identity.number, offset: frame.endOffset };
    }
    return end === undefined ? undefined : { payloads, records, end };
  }

  /** One for all reads: a fresh one of many MiB each time would be waited for and swept up again. */
  #bufferOf(bytes: number): Buffer {
    if (this.#buffer.length < bytes) this.#buffer = Buffer.allocUnsafeSlow(bytes);
    return this.#buffer.subarray(0, bytes);
  }

  /** Looks through a segment after a bad frame: what is left stays in its runs, the rest is told of. */
  async #lookAgain(segment: Segment, appliedRecord: number): Promise<void> {
    const known = segment.runs;
    const file = await this.#fileOf(segment);
    const target = Buffer.allocUnsafeSlow(known.at(-1)?.endOffset ?? 0);
    const bytes = target.subarray(0, await readFully(file, target, 0));
    const { left, gaps } = compareRuns(known, scanSegment(bytes, segment.identity).runs);
    // What was synced meanwhile is behind all that was looked at.
    const grown = compareRuns(segment.runs, known).gaps;
    segment.runs = [...left, ...grown];
    for (const gap of gaps) {
      const lostUnapplied = Math.max(0, gap.lastRecord - Math.max(gap.firstRecord - 1, appliedRecord));
      const damage = {
        reason: 'frame',
        segment: segment.identity.number,
        offset: gap.startOffset,
        bytes: gap.endOffset - gap.startOffset,
        lostRecords: gap.lastRecord - gap.firstRecord + 1,
        lostUnapplied,
        acknowledged: 'certainly',
      } as const;
      await this.#quarantine.report(damage, bytes.subarray(gap.startOffset, gap.endOffset));
    }
  }

  async #fileOf(segment: Segment): Promise<SpoolFile> {
    if (this.#open?.path !== segment.path) {
      await this.close();
      this.#open = { path: segment.path, file: await this.#disk.open(segment.path, 'read') };
    }
    return this.#open.file;
  }
}
