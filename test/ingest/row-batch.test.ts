import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RowBatch } from '../../src/ingest/row-batch.ts';
import { readRows, type RowHead, RowScan } from '../../src/ingest/row-scan.ts';
import { parseWindow } from '../../src/ingest/validate.ts';
import type { Provenance, Window } from '../../src/ingest/window.ts';
import { blockParts, readBlock, textAt, WORD_COLUMNS } from '../../src/ingest/window-block.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';

const bounds = { nowNanos: BigInt(NOW_MS) * 1_000_000n, lateDaysMax: 35, rawDays: 400, aheadNanosMax: 0n };
const window = parseWindow(aWindow(), anySender, bounds);
const provenance: Provenance = { credentialId: 'k', instanceId: 'i', sequence: 7n, receivedAtNanos: 1_000n };

const id = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
  .filter((text) => !/\p{Cc}/u.test(text) && Buffer.byteLength(text) <= 128);
const uint64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const time = fc.bigInt({ min: 946_684_800_000_000_000n, max: 7_258_118_000_000_000_000n });

function rowOf(changed: Partial<Window> = {}, from = provenance): RowBatch {
  const rows = new RowBatch(1, from);
  rows.addWindow({ ...window, ...changed });
  return rows;
}

function hashOf(changed: Partial<Window> = {}, from = provenance): string {
  const { hashHigh, hashLow } = rowOf(changed, from).head;
  return `${hashHigh}:${hashLow}`;
}

function shown({ customer, vm, hour, offsetNanos, lengthNanos, hashLow, hashHigh }: RowHead) {
  return { ids: [textAt(customer), textAt(vm)], hour, offsetNanos, lengthNanos, hashLow, hashHigh };
}

describe('RowBatch', () => {
  it('lays each column out as ClickHouse reads it', () => {
    const { count, words, texts, call } = rowOf({ bootId: 'b' }).block();
    expect(count).toBe(1);
    expect(texts.map((bytes) => bytes.toString('latin1'))).toEqual(['\x04acme', '\x04vm-1', '\x08us-east1', '\x01b']);
    expect(words.readBigInt64LE(0)).toBe(window.startNanos);
    expect(words.readBigInt64LE(8)).toBe(window.endNanos);
    expect(words.length).toBe(8 * WORD_COLUMNS.length);
    // Instance, sequence, credential, precedence: 2^63 - 1 minus the receipt.
    expect(call.subarray(0, 2).toString('latin1')).toBe('\x01i');
    expect(call.readBigUInt64LE(2)).toBe(7n);
    expect(call.subarray(10, 12).toString('latin1')).toBe('\x01k');
    expect(call.readBigUInt64LE(call.length - 8)).toBe(2n ** 63n - 1n - 1_000n);
  });

  it('hashes the region and the values, and nothing else', () => {
    const same = hashOf();
    expect(hashOf({ sampledAtNanos: 1n, bootId: 'b' })).toBe(same);
    expect(hashOf({}, { credentialId: 'x', instanceId: 'y', sequence: 1n, receivedAtNanos: 2n })).toBe(same);
    const counters = [
      'cpuTimeNanos',
      'memoryBytesUsed',
      'memoryBytesPeak',
      'memoryByteSeconds',
      'diskReadBytes',
      'diskWriteBytes',
      'diskReadOps',
      'diskWriteOps',
      'networkRxBytes',
      'networkTxBytes',
    ] as const;
    for (const counter of counters) expect(hashOf({ [counter]: 12_345n }), counter).not.toBe(same);
    expect(hashOf({ region: 'eu-west1' })).not.toBe(same);
    expect(hashOf({ cpuCoresUsed: 2 })).not.toBe(same);
    expect(hashOf({ cpuUtilizationPct: 2 })).not.toBe(same);
  });

  it('hashes as it always has: stored rows depend on it', () => {
    expect(hashOf()).toBe('1378647514:1244632045');
  });

  it('spreads values that lie close together over all of the hash', () => {
    const seen = new Set<string>();
    const [lows, highs] = [new Set<number>(), new Set<number>()];
    for (let a = 0n; a < 100n; a++) {
      for (let b = 0n; b < 100n; b++) {
        const { hashLow, hashHigh } = rowOf({ diskReadBytes: a << 32n, networkTxBytes: b }).head;
        seen.add(`${hashLow}:${hashHigh}`);
        lows.add(hashLow);
        highs.add(hashHigh);
      }
    }
    expect(seen.size).toBe(10_000);
    // Of 10,000 random 32-bit numbers, two meet about once in 86 tries: more than a few would be a bad mix.
    expect(lows.size).toBeGreaterThan(9_995);
    expect(highs.size).toBeGreaterThan(9_995);
  });

  it('is read back as it was written, by the reader and by the scan', () => {
    const windows = fc.array(
      fc.record({
        customerId: id,
        vmId: id,
        region: id,
        bootId: id,
        startNanos: time,
        cpuTimeNanos: uint64,
        networkTxBytes: uint64,
      }),
    );
    fc.assert(
      fc.property(windows, fc.bigInt({ min: 1n, max: 3_600_000_000_000n }), (changes, length) => {
        const rows = new RowBatch(changes.length, provenance);
        const written = changes.map((changed) => {
          const each = { ...window, ...changed, endNanos: changed.startNanos + length };
          rows.addWindow(each);
          return { each, head: shown(rows.head) };
        });
        const block = readBlock(Buffer.concat(blockParts(rows.block())), rows.count);
        const read = [...readRows(block)];
        expect(read.map(({ customerId, vmId, region }) => [customerId, vmId, region])).toEqual(
          written.map(({ each }) => [each.customerId, each.vmId, each.region]),
        );
        for (const [i, row] of read.entries()) expect(written[i]?.each).toMatchObject(row);
        const scan = new RowScan(block);
        for (const { head, each } of written) {
          expect(scan.next()).toBe(true);
          expect(shown(scan)).toEqual(head);
          expect(head.ids).toEqual([each.customerId, each.vmId]);
          expect(BigInt(scan.hour) * 3_600_000_000_000n + BigInt(scan.offsetNanos)).toBe(each.startNanos);
        }
        expect(scan.next()).toBe(false);
      }),
    );
  });

  it('forgets a row that is taken back', () => {
    const rows = new RowBatch(50, provenance);
    for (let i = 0; i < 50; i++) {
      rows.addWindow({ ...window, vmId: `vm-${i}`.padEnd(100, 'x') });
      if (i % 2 === 1) rows.dropLast();
    }
    const kept = [...readRows(rows.block())].map(({ vmId }) => vmId.replace(/x+$/, ''));
    expect(kept).toEqual(Array.from({ length: 25 }, (_, i) => `vm-${2 * i}`));
    expect(rows.count).toBe(25);
  });

  it('refuses what it has no room for', () => {
    const rows = rowOf();
    expect(() => rows.addWindow(window)).toThrow('more than the 1 windows');
    expect(() => rowOf({ vmId: 'x'.repeat(129) })).toThrow('an id of 129 bytes');
  });

  it('takes a batch larger than any before it, and smaller ones afterwards', () => {
    for (const windows of [3, 20_000, 2]) {
      const rows = new RowBatch(windows, provenance);
      for (let i = 0; i < windows; i++) rows.addWindow({ ...window, vmId: `vm-${i}`, cpuTimeNanos: BigInt(i) });
      const read = [...readRows(rows.block())];
      expect(read.map(({ vmId, cpuTimeNanos }) => `${vmId} ${cpuTimeNanos}`)).toEqual(
        Array.from({ length: windows }, (_, i) => `vm-${i} ${i}`),
      );
      rows.release();
    }
  });

  it('keeps what was written apart from later batches, and refuses to mix two', () => {
    const first = rowOf({ vmId: 'first' });
    const block = first.block();
    const second = rowOf({ vmId: 'second' });
    const third = rowOf({ vmId: 'third' });
    expect([...readRows(block)].map(({ vmId }) => vmId)).toEqual(['first']);
    expect(() => second.block()).toThrow('another batch has begun');
    expect([...readRows(third.block())].map(({ vmId }) => vmId)).toEqual(['third']);
  });
});
