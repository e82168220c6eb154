import type { SegmentIdentity } from './format.ts';

/** A place in the spool, between two records. Plain numbers, so that it can be written down. */
export interface Position {
  /** The record before it; 0 at the very start. */
  readonly record: number;
  readonly segment: number;
  readonly offset: number;
}

export const START: Position = { record: 0, segment: 0, offset: 0 };

/** Records that lie in a segment without a gap, all of them on disk. */
export interface Run {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly firstRecord: number;
  readonly lastRecord: number;
}

/** A segment that holds records, or is about to. */
export interface Segment {
  readonly identity: SegmentIdentity;
  readonly path: string;
  readonly sizeBytes: number;
  /** In order. One where nothing was ever damaged. */
  runs: readonly Run[];
  /** Set by a failed write or sync: never written again, nor recycled. */
  poisoned: boolean;
}

const SEGMENT_NAME = /^segment-(\d{16})$/;

export function segmentName(number: number): string {
  return `segment-${String(number).padStart(16, '0')}`;
}

/** The number in a segment's name; `undefined` for every other name. */
export function parseSegmentName(name: string): number | undefined {
  const digits = SEGMENT_NAME.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Adds records that were just synced. */
export function extendRuns(segment: Segment, added: Run): void {
  const last = segment.runs.at(-1);
  segment.runs =
    last?.endOffset === added.startOffset && last.lastRecord + 1 === added.firstRecord
      ? [...segment.runs.slice(0, -1), { ...last, endOffset: added.endOffset, lastRecord: added.lastRecord }]
      : [...segment.runs, added];
}

/** How many records lie behind a position, and how many bytes they take up on disk. */
export function amountAfter(segments: readonly Segment[], position: Position): { records: number; bytes: number } {
  let records = 0;
  let bytes = 0;
  for (const run of runsAfter(segments, position)) {
    records += run.lastRecord - run.firstRecord + 1;
    bytes += run.endOffset - run.startOffset;
  }
  return { records, bytes };
}

/** The runs behind a position, the first of them cut to start there. */
export function* runsAfter(
  segments: readonly Segment[],
  position: Position,
): Generator<Run & { readonly segment: Segment }> {
  for (const segment of segments) {
    if (segment.identity.number < position.segment) continue;
    const from = segment.identity.number === position.segment ? position.offset : 0;
    for (const run of segment.runs) {
      if (run.lastRecord <= position.record || run.endOffset <= from) continue;
      if (run.startOffset >= from) yield { ...run, segment };
      else yield { ...run, startOffset: from, firstRecord: position.record + 1, segment };
    }
  }
}

/** Whether every record of a segment lies before a position. */
export function isBehind(segment: Segment, position: Position): boolean {
  return (segment.runs.at(-1)?.lastRecord ?? 0) <= position.record;
}
