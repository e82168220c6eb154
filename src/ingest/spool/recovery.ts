import { join } from 'node:path';
import { readFully, type SpoolFile } from './disk.ts';
import { findFrame, parseSegmentHeader, SEGMENT_HEADER_BYTES, segmentIdentity } from './format.ts';
import { Walk, type Peeked, type Recovered, type RecoveryOptions } from './recovery-walk.ts';
import { scanSegment } from './scan.ts';
import { parseSegmentName, segmentName, type Segment } from './segment.ts';
import { parseSpareName } from './segment-shelf.ts';

/** Enough for the first frame of a segment, which tells where the one before it ends. */
const PEEK_BYTES = 8 * 1024 * 1024;

/**
 * Looks through everything on disk, oldest first. Records are told to `onRecord`, damage to the quarantine. Nothing is
 * written but there, and no file changes but that empty ones at the end become spares.
 * @throws Error where a segment is of another version, or cannot be read
 */
export async function recover(options: RecoveryOptions): Promise<Recovered> {
  const { disk, folder, mark } = options;
  const names = await disk.list(folder);
  const numbers = names.flatMap((name) => parseSegmentName(name) ?? []).toSorted((a, b) => a - b);
  const peeked: Peeked[] = [];
  for (const number of numbers) peeked.push(await peek(options, number));
  const kept = peeked.slice(0, peeked.findLastIndex((one) => one.firstRecord !== undefined || one.headerBad) + 1);
  const spares = names.filter((name) => parseSpareName(name) !== undefined);
  await freeEmpties(options, peeked.slice(kept.length), spares);
  if (mark === undefined && kept.length > 0) await reportMark(options);
  const newest = kept.findLast((one) => one.firstRecord !== undefined)?.segment;
  const lastGroup = newest === undefined ? 0 : await lastGroupOf(options, newest);
  const walk = new Walk(options, { segment: newest, fromRecord: Math.max(lastGroup, (mark?.durableRecord ?? 0) + 1) });
  const limits = limitRecords(kept);
  for (const [index, one] of kept.entries()) await walk.take(one, limits[index] ?? Number.POSITIVE_INFINITY);
  const segments = kept.map((one) => one.segment);
  return walk.finish(segments, await sizedSpares(options, spares));
}

/** The first record of the last group in a segment. All before it was synced before that group was written. */
async function lastGroupOf({ disk }: RecoveryOptions, segment: Segment): Promise<number> {
  const file = await disk.open(segment.path, 'read');
  try {
    return scanSegment(await readStart(file, segment.sizeBytes), segment.identity).lastGroupFirstRecord;
  } finally {
    await file.close();
  }
}

/** For each segment the first record that a later one holds in its stead: here that one was never acknowledged. */
function limitRecords(peeked: readonly Peeked[]): number[] {
  let limit = Number.POSITIVE_INFINITY;
  return peeked
    .toReversed()
    .map((one) => {
      const own = limit;
      limit = Math.min(limit, one.firstRecord ?? limit);
      return own;
    })
    .toReversed();
}

async function reportMark({ quarantine }: RecoveryOptions): Promise<void> {
  const nowhere = { segment: 0, offset: 0, bytes: 0, lostRecords: 0, lostUnapplied: 0 };
  await quarantine.report({ reason: 'mark', ...nowhere, acknowledged: 'certainly' }, Buffer.alloc(0));
}

async function peek(options: RecoveryOptions, number: number): Promise<Peeked> {
  const path = join(options.folder, segmentName(number));
  const file = await options.disk.open(path, 'read');
  try {
    const sizeBytes = await file.sizeBytes();
    const start = await readStart(file, Math.min(PEEK_BYTES, sizeBytes));
    const identity = parseSegmentHeader(start, number);
    const common = { identity: identity ?? segmentIdentity(number, 0n), path, sizeBytes, runs: [] };
    // What carries a bad header is kept as it is until it is behind the applied mark, and then removed.
    if (identity === undefined)
      return { segment: { ...common, poisoned: true }, firstRecord: undefined, headerBad: true };
    const found =
      findFrame(start, 0, SEGMENT_HEADER_BYTES, identity) ??
      findFrame(await readStart(file, sizeBytes), 0, SEGMENT_HEADER_BYTES, identity);
    return { segment: { ...common, poisoned: false }, firstRecord: found?.frame.record, headerBad: false };
  } finally {
    await file.close();
  }
}

async function readStart(file: SpoolFile, bytes: number): Promise<Buffer> {
  const target = Buffer.allocUnsafeSlow(bytes);
  return target.subarray(0, await readFully(file, target, 0));
}

/**
 * Empty segments at the end become spares, newest first. They are not written as they are: a lost write may have left
 * later frames of the same epoch in them.
 */
async function freeEmpties(options: RecoveryOptions, empties: readonly Peeked[], spares: string[]): Promise<void> {
  const { disk, folder } = options;
  let number = Math.max(0, ...spares.map((name) => parseSpareName(name) ?? 0));
  for (const { segment } of empties.toReversed()) {
    const name = `spare-${++number}`;
    await disk.rename(segment.path, join(folder, name));
    spares.push(name);
    await disk.syncFolder(folder);
  }
}

/** The spares that can be used as they are; the others, of another size or never finished, are removed. */
async function sizedSpares(options: RecoveryOptions, spares: readonly string[]): Promise<string[]> {
  const { disk, folder, segmentBytes } = options;
  const sized: string[] = [];
  for (const name of spares) {
    const file = await disk.open(join(folder, name), 'read');
    const sizeBytes = await file.sizeBytes();
    await file.close();
    if (sizeBytes === segmentBytes) sized.push(name);
    else await disk.remove(join(folder, name));
  }
  return sized;
}
