import { findFrame, parseFrame, SEGMENT_HEADER_BYTES, type Frame, type SegmentIdentity } from './format.ts';
import type { Run } from './segment.ts';

/** What a look through the bytes of a segment finds. */
export interface Scan {
  readonly runs: readonly Run[];
  /**
   * The first record of the last group. Everything before it was on disk before that group was written, and so was
   * acknowledged; whether the group itself was synced, the segment cannot tell. 0 where there are no frames.
   */
  readonly lastGroupFirstRecord: number;
}

/**
 * Finds every whole frame of a segment, also behind damage. Pure.
 * @param bytes the segment from its start
 */
export function scanSegment(bytes: Buffer, identity: SegmentIdentity): Scan {
  const runs: Run[] = [];
  let lastGroupFirstRecord = 0;
  let offset = SEGMENT_HEADER_BYTES;
  for (;;) {
    const found = findRun(bytes, offset, identity);
    if (found === undefined) return { runs, lastGroupFirstRecord };
    runs.push(found.run);
    lastGroupFirstRecord = found.last.record - found.last.place;
    offset = found.run.endOffset;
  }
}

/** The next run of frames at `offset` or behind it. */
function findRun(bytes: Buffer, offset: number, identity: SegmentIdentity): { run: Run; last: Frame } | undefined {
  const first = findFrame(bytes, 0, offset, identity);
  if (first === undefined) return undefined;
  let last = first.frame;
  for (;;) {
    const next = parseFrame(bytes, 0, last.endOffset, identity);
    if (next === undefined || next.record !== last.record + 1) break;
    last = next;
  }
  const run = {
    startOffset: first.startOffset,
    endOffset: last.endOffset,
    firstRecord: first.frame.record,
    lastRecord: last.record,
  };
  return { run, last };
}

/**
 * The frames of a run.
 * @param bytes part of the segment, from `baseOffset` on, where the run ends inside it or is cut
 * @returns how far the frames go: the end of the run, or the start of a frame that is cut or bad
 */
export function* framesOf(
  bytes: Buffer,
  baseOffset: number,
  run: Run,
  identity: SegmentIdentity,
): Generator<Frame, number> {
  let offset = run.startOffset;
  for (let record = run.firstRecord; offset < run.endOffset; record++) {
    const frame = parseFrame(bytes, baseOffset, offset, identity);
    if (frame === undefined || frame.record !== record) return offset;
    yield frame;
    offset = frame.endOffset;
  }
  return offset;
}

/** Records that used to be there and no longer are. */
export interface Gap {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly firstRecord: number;
  readonly lastRecord: number;
}

/** What is left of `known` runs after a new look found only `found`. What was never known stays out. Pure. */
export function compareRuns(known: readonly Run[], found: readonly Run[]): { left: Run[]; gaps: Gap[] } {
  const left: Run[] = [];
  const gaps: Gap[] = [];
  for (const run of known) {
    let startOffset = run.startOffset;
    let firstRecord = run.firstRecord;
    for (const other of found) {
      if (other.endOffset <= startOffset || other.startOffset >= run.endOffset) continue;
      const piece = {
        startOffset: Math.max(other.startOffset, startOffset),
        endOffset: Math.min(other.endOffset, run.endOffset),
        firstRecord: Math.max(other.firstRecord, firstRecord),
        lastRecord: Math.min(other.lastRecord, run.lastRecord),
      };
      if (piece.startOffset > startOffset) {
        gaps.push({ startOffset, endOffset: piece.startOffset, firstRecord, lastRecord: piece.firstRecord - 1 });
      }
      left.push(piece);
      startOffset = piece.endOffset;
      firstRecord = piece.lastRecord + 1;
    }
    if (startOffset < run.endOffset) {
      gaps.push({ startOffset, endOffset: run.endOffset, firstRecord, lastRecord: run.lastRecord });
    }
  }
  return { left, gaps };
}
