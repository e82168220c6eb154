import { crc32 } from 'node:zlib';

/**
 * How segments and frames lie on disk; README.md has it byte by byte. Pure: bytes in, bytes out. All integers are
 * little-endian.
 */

/** Frames start behind two copies of the header, each in a page of its own. */
export const SEGMENT_HEADER_BYTES = 8192;
export const FRAME_HEADER_BYTES = 32;
/** Frames start at multiples of this, so that looking for one behind damage need not try every byte. */
export const FRAME_ALIGN_BYTES = 8;

const MAGIC = Buffer.from('METERDSP', 'latin1');
const VERSION = 1;
const HEADER_COPY_BYTES = 36;
const HEADER_COPY_OFFSETS = [0, 4096] as const;

/** What sets one use of a segment file apart from every other. */
export interface SegmentIdentity {
  /** Counts up by one with each segment, from 1. */
  readonly number: number;
  /** 64 random bits, drawn anew each time a file is used. */
  readonly epoch: bigint;
  /** Where the checksum of each frame starts from: the checksum of number and epoch. */
  readonly seed: number;
  /** The lower half of the epoch: what frame marks are made from. */
  readonly epochLow: number;
}

/** One record as it lies in a segment. Offsets are from the start of the segment. */
export interface Frame {
  /** Counts up by one with each record of the spool, from 1. */
  readonly record: number;
  readonly writtenAtMs: number;
  /** How many records of the same group lie before it. */
  readonly place: number;
  readonly payloadOffset: number;
  /** 0 for a record that is lost: the frame only keeps its number. */
  readonly payloadBytes: number;
  /** Where the next frame starts. */
  readonly endOffset: number;
}

export function segmentIdentity(number: number, epoch: bigint): SegmentIdentity {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(BigInt(number), 0);
  bytes.writeBigUInt64LE(epoch, 8);
  return { number, epoch, seed: crc32(bytes), epochLow: Number(epoch & 0xffff_ffffn) };
}

/** The first `SEGMENT_HEADER_BYTES` of a segment. */
export function encodeSegmentHeader(identity: SegmentIdentity): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  for (const offset of HEADER_COPY_OFFSETS) {
    MAGIC.copy(bytes, offset);
    bytes.writeUInt32LE(VERSION, offset + 8);
    bytes.writeBigUInt64LE(BigInt(identity.number), offset + 16);
    bytes.writeBigUInt64LE(identity.epoch, offset + 24);
    bytes.writeUInt32LE(crc32(bytes.subarray(offset, offset + 32)), offset + 32);
  }
  return bytes;
}

/**
 * Reads a segment's header from whichever copy is whole.
 * @returns undefined where neither is, or where they are those of another segment
 * @throws Error where both copies agree on another version of the format
 */
export function parseSegmentHeader(bytes: Buffer, number: number): SegmentIdentity | undefined {
  const copies = HEADER_COPY_OFFSETS.map((offset) => bytes.subarray(offset, offset + HEADER_COPY_BYTES)).filter(
    (copy) => copy.length === HEADER_COPY_BYTES && copy.subarray(0, 8).equals(MAGIC),
  );
  for (const copy of copies) {
    if (copy.readUInt32LE(32) !== crc32(copy.subarray(0, 32)) || copy.readUInt32LE(8) !== VERSION) continue;
    if (copy.readBigUInt64LE(16) === BigInt(number)) return segmentIdentity(number, copy.readBigUInt64LE(24));
  }
  const versions = copies.map((copy) => copy.readUInt32LE(8));
  // Damage to one copy cannot look like this: another version is only believed where both copies name the same.
  if (versions.length === 2 && versions[0] === versions[1] && versions[0] !== VERSION) {
    throw new Error(
      `segment ${number} has format version ${versions[0]}, and this meterd reads version ${VERSION}: ` +
        'drain the spool with the meterd that wrote it',
    );
  }
  return undefined;
}

/** What a record takes up in a segment. */
export function frameBytes(payloadBytes: number): number {
  return FRAME_HEADER_BYTES + Math.ceil(payloadBytes / FRAME_ALIGN_BYTES) * FRAME_ALIGN_BYTES;
}

/** Writes the part of a frame's header that does not depend on where the frame will lie. The payload follows it. */
export function beginFrame(bytes: Buffer, at: number, payloadBytes: number, writtenAtMs: number): void {
  bytes.writeBigUInt64LE(BigInt(writtenAtMs), at + 16);
  bytes.writeUInt32LE(payloadBytes, at + 24);
}

/**
 * Completes the frame at `at`, payload included, for its place in a segment. May be done again for another place.
 * @returns where the next frame of the same buffer starts
 */
export function sealFrame(
  bytes: Buffer,
  at: number,
  to: { readonly identity: SegmentIdentity; readonly offset: number; readonly record: number; readonly place: number },
): number {
  const payloadBytes = bytes.readUInt32LE(at + 24);
  bytes.writeUInt32LE(frameMark(to.identity, to.offset), at + 4);
  bytes.writeBigUInt64LE(BigInt(to.record), at + 8);
  bytes.writeUInt32LE(to.place, at + 28);
  const covered = bytes.subarray(at + 4, at + FRAME_HEADER_BYTES + payloadBytes);
  bytes.writeUInt32LE(crc32(covered, to.identity.seed), at);
  return at + frameBytes(payloadBytes);
}

/**
 * Reads the frame at `offset` of a segment.
 * @param bytes part of the segment, from `baseOffset` on
 * @returns undefined unless a whole frame, written for this very place of this very segment, lies there
 */
export function parseFrame(
  bytes: Buffer,
  baseOffset: number,
  offset: number,
  identity: SegmentIdentity,
): Frame | undefined {
  const at = offset - baseOffset;
  if (at + FRAME_HEADER_BYTES > bytes.length) return undefined;
  if (bytes.readUInt32LE(at + 4) !== frameMark(identity, offset)) return undefined;
  const payloadBytes = bytes.readUInt32LE(at + 24);
  const payloadAt = at + FRAME_HEADER_BYTES;
  if (payloadAt + payloadBytes > bytes.length) return undefined;
  const covered = bytes.subarray(at + 4, payloadAt + payloadBytes);
  if (bytes.readUInt32LE(at) !== crc32(covered, identity.seed)) return undefined;
  return {
    record: Number(bytes.readBigUInt64LE(at + 8)),
    writtenAtMs: Number(bytes.readBigUInt64LE(at + 16)),
    place: bytes.readUInt32LE(at + 28),
    payloadOffset: offset + FRAME_HEADER_BYTES,
    payloadBytes,
    endOffset: offset + frameBytes(payloadBytes),
  };
}

/** The first whole frame at `offset` or behind it, and where it starts. */
export function findFrame(
  bytes: Buffer,
  baseOffset: number,
  offset: number,
  identity: SegmentIdentity,
): { readonly frame: Frame; readonly startOffset: number } | undefined {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const last = baseOffset + bytes.length - FRAME_HEADER_BYTES;
  for (let start = offset; start <= last; start += FRAME_ALIGN_BYTES) {
    // Comparing the mark first spares the checksum for all but one in four thousand million wrong places.
    if (words.getUint32(start - baseOffset + 4, true) !== frameMark(identity, start)) continue;
    const frame = parseFrame(bytes, baseOffset, start, identity);
    if (frame !== undefined) return { frame, startOffset: start };
  }
  return undefined;
}

/** Differs from place to place and from epoch to epoch: a frame that was moved, copied or left behind shows itself. */
function frameMark(identity: SegmentIdentity, offset: number): number {
  return (identity.epochLow ^ (offset / FRAME_ALIGN_BYTES)) >>> 0;
}
