import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SendMetricsBatchRequestSchema } from '../../gen/billing/v1/collector_pb.ts';
import { BillingMetricsSchema } from '../../gen/billing/v1/metrics_pb.ts';
import { SendMetricsBatchRestSchema } from '../../gen/meterd/internal/v1/raw_pb.ts';
import { splitBatch } from '../../src/ingest/wire-batch.ts';
import { aWindow } from './a-window.ts';

/** Fields as they may follow each other in a batch, in any order, again and again: windows, known ones, unknown ones. */
const field = fc.oneof(
  fc.nat(1000).map((vm) => {
    const metrics = [aWindow({ vmId: `vm-${vm}` })];
    return toBinary(SendMetricsBatchRequestSchema, create(SendMetricsBatchRequestSchema, { metrics }));
  }),
  fc
    .constantFrom<number[]>(
      [0x0a, 0],
      [0x8a, 0x80, 0x00, 0],
      [0x12, 2, 0x69, 0x64],
      [0x18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
      [0x20, 1],
      [0xf8, 0x0a, 5],
      [0xf9, 0x0a, 1, 2, 3, 4, 5, 6, 7, 8],
      [0xfd, 0x0a, 1, 2, 3, 4],
      [0xfb, 0x0a, 0x0a, 1, 7, 0x08, 1, 0xfc, 0x0a],
    )
    .map((bytes) => Uint8Array.from(bytes)),
);

describe('splitBatch', () => {
  it('finds the windows and the rest that the decoder finds', () => {
    fc.assert(
      fc.property(fc.array(field, { maxLength: 20 }), (fields) => {
        const message = Buffer.concat(fields);
        const { windows, rest } = splitBatch(message);
        const whole = fromBinary(SendMetricsBatchRequestSchema, message);
        const { $typeName: _, $unknown: __, metrics, ...known } = whole;
        const found = Array.from({ length: windows.length }, (_each, i) =>
          fromBinary(BillingMetricsSchema, windows.bytes.subarray(windows.bounds[2 * i], windows.bounds[2 * i + 1])),
        );
        expect(found).toEqual(metrics);
        expect(fromBinary(SendMetricsBatchRestSchema, rest)).toMatchObject(known);
      }),
    );
  });

  it('holds any number of windows', () => {
    const { windows } = splitBatch(Buffer.alloc(10_000).fill(Buffer.from([0x0a, 0])));
    expect(windows.length).toBe(5000);
    expect([...windows.bounds.subarray(9996, 10_000)]).toEqual([9998, 9998, 10_000, 10_000]);
  });

  it('refuses what is cut off or garbled where a decoder does that knows none of the fields, and nothing else', () => {
    const garbled = fc.tuple(fc.array(field, { minLength: 1, maxLength: 5 }), fc.nat(), fc.nat(255));
    fc.assert(
      fc.property(garbled, ([fields, at, byte]) => {
        const changed = Buffer.concat(fields);
        changed[at % changed.length] = byte;
        const message = byte % 3 === 0 ? changed.subarray(0, at % changed.length) : changed;
        const isWhole = decodes(message);
        expect(isSplittable(message)).toBe(isWhole);
        if (!isWhole) return;
        const { windows } = splitBatch(message);
        for (let i = 0; i < windows.length; i++) expect(windows.bounds[2 * i + 1]).toBeLessThanOrEqual(message.length);
      }),
      { numRuns: 3000 },
    );
  });

  it('passes over a thousand fields that nobody knows, and no more', () => {
    const unknown = (fields: number) => Buffer.alloc(3 * fields, Buffer.from([0xf8, 0x0a, 5]));
    expect(splitBatch(unknown(1024)).rest).toHaveLength(3 * 1024);
    expect(() => splitBatch(unknown(1025))).toThrow('more than 1024 fields beside windows');
  });
});

function isSplittable(message: Uint8Array): boolean {
  try {
    splitBatch(message);
    return true;
  } catch {
    return false;
  }
}

function decodes(message: Uint8Array): boolean {
  try {
    fromBinary(EmptySchema, message);
    return true;
  } catch {
    return false;
  }
}
