import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  beginFrame,
  encodeSegmentHeader,
  findFrame,
  FRAME_HEADER_BYTES,
  frameBytes,
  parseFrame,
  parseSegmentHeader,
  sealFrame,
  SEGMENT_HEADER_BYTES,
  segmentIdentity,
  type SegmentIdentity,
} from '../../../src/ingest/spool/format.ts';

const identity = fc
  .tuple(fc.integer({ min: 1, max: 2 ** 40 }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }))
  .map(([number, epoch]) => segmentIdentity(number, epoch));
const payload = fc.uint8Array({ minLength: 1, maxLength: 100 });
const place = fc.integer({ min: 1024, max: 1_000_000 }).map((eighths) => eighths * 8);

function frameOf(bytes: Uint8Array, to: SegmentIdentity, offset: number, record = 1): Buffer {
  const frame = Buffer.alloc(frameBytes(bytes.length));
  beginFrame(frame, 0, bytes.length, 1_700_000_000_000);
  frame.set(bytes, FRAME_HEADER_BYTES);
  sealFrame(frame, 0, { identity: to, offset, record, place: 3 });
  return frame;
}

describe('a segment header', () => {
  it('is read from either copy, and from neither where both are bad', () => {
    fc.assert(
      fc.property(identity, fc.nat(35), fc.integer({ min: 1, max: 255 }), (id, at, mask) => {
        const bytes = encodeSegmentHeader(id);
        expect(parseSegmentHeader(bytes, id.number)).toEqual(id);
        bytes.writeUInt8(bytes.readUInt8(at) ^ mask, at);
        expect(parseSegmentHeader(bytes, id.number)).toEqual(id);
        bytes.writeUInt8(bytes.readUInt8(4096 + at) ^ mask, 4096 + at);
        if (at < 8 || at >= 12) expect(parseSegmentHeader(bytes, id.number)).toBeUndefined();
      }),
    );
  });

  it('of another segment is not taken for its own', () => {
    const header = encodeSegmentHeader(segmentIdentity(5, 9n));
    expect(parseSegmentHeader(header, 6)).toBeUndefined();
    expect(parseSegmentHeader(header.subarray(0, 20), 5)).toBeUndefined();
  });

  it('of another version says so', () => {
    const header = encodeSegmentHeader(segmentIdentity(5, 9n));
    header.writeUInt32LE(2, 8);
    expect(parseSegmentHeader(header, 5)).toEqual(segmentIdentity(5, 9n));
    header.writeUInt32LE(2, 4096 + 8);
    expect(() => parseSegmentHeader(header, 5)).toThrow('segment 5 has format version 2');
  });
});

describe('a frame', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(identity, payload, place, fc.integer({ min: 1, max: 2 ** 50 }), (id, bytes, offset, record) => {
        const frame = frameOf(bytes, id, offset, record);
        expect(parseFrame(frame, offset, offset, id)).toEqual({
          record,
          writtenAtMs: 1_700_000_000_000,
          place: 3,
          payloadOffset: offset + FRAME_HEADER_BYTES,
          payloadBytes: bytes.length,
          endOffset: offset + frame.length,
        });
        expect(frame.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + bytes.length)).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it('does not parse with any bit of it changed', () => {
    fc.assert(
      fc.property(identity, payload, place, fc.nat(), (id, bytes, offset, bit) => {
        const frame = frameOf(bytes, id, offset);
        const at = Math.floor(bit / 8) % (FRAME_HEADER_BYTES + bytes.length);
        frame.writeUInt8(frame.readUInt8(at) ^ (1 << (bit % 8)), at);
        expect(parseFrame(frame, offset, offset, id)).toBeUndefined();
      }),
    );
  });

  it('does not parse at another place, nor in another segment or epoch, nor cut', () => {
    fc.assert(
      fc.property(identity, identity, payload, place, place, (id, other, bytes, offset, elsewhere) => {
        const frame = frameOf(bytes, id, offset);
        if (elsewhere !== offset) expect(parseFrame(frame, elsewhere, elsewhere, id)).toBeUndefined();
        if (other.epoch !== id.epoch) expect(parseFrame(frame, offset, offset, other)).toBeUndefined();
        const next = segmentIdentity(id.number + 1, id.epoch);
        expect(parseFrame(frame, offset, offset, next)).toBeUndefined();
        const cut = frame.subarray(0, FRAME_HEADER_BYTES + bytes.length - 1);
        expect(parseFrame(cut, offset, offset, id)).toBeUndefined();
      }),
    );
  });

  it('is found behind anything else', () => {
    fc.assert(
      fc.property(identity, payload, fc.uint8Array({ maxLength: 300 }), (id, bytes, before) => {
        const gap = Buffer.alloc(Math.ceil(before.length / 8) * 8);
        gap.set(before);
        const start = SEGMENT_HEADER_BYTES + gap.length;
        const segment = Buffer.concat([encodeSegmentHeader(id), gap, frameOf(bytes, id, start), Buffer.alloc(64)]);
        expect(findFrame(segment, 0, SEGMENT_HEADER_BYTES, id)?.startOffset).toBe(start);
        expect(findFrame(segment, 0, start + 8, id)).toBeUndefined();
      }),
    );
  });
});
