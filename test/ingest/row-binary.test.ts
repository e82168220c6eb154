import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeRow, rowKeys, windowKey } from '../../src/ingest/row-binary.ts';
import { parseWindow } from '../../src/ingest/validate.ts';
import type { Provenance, Window } from '../../src/ingest/window.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';

const bounds = { nowNanos: BigInt(NOW_MS) * 1_000_000n, lateDaysMax: 35, aheadNanosMax: 0n };
const window = parseWindow(aWindow(), anySender, bounds);
const provenance: Provenance = { credentialId: 'k', instanceId: 'i', sequence: 7n, receivedAtNanos: 1_000n };

const id = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 });
const uint64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

describe('encodeRow', () => {
  it('lays the columns out as RowBinary does', () => {
    const { row } = encodeRow(window, provenance);
    expect(row.subarray(0, 10).toString('latin1')).toBe('\x04acme\x04vm-1');
    expect(row.readBigInt64LE(10)).toBe(window.startNanos);
    expect(row.readBigInt64LE(18)).toBe(window.endNanos);
    // credential_id, then precedence: 2^63 - 1 minus the receipt.
    expect(row.subarray(-10, -8).toString('latin1')).toBe('\x01k');
    expect(row.readBigUInt64LE(row.length - 8)).toBe(2n ** 63n - 1n - 1_000n);
  });

  it('hashes the region and the values, and nothing else', () => {
    const hash = (changed: Partial<Window>, from = provenance): bigint => {
      return encodeRow({ ...window, ...changed }, from).valueHash;
    };
    const same = hash({});
    expect(hash({ sampledAtNanos: 1n, bootId: 'b' })).toBe(same);
    expect(hash({}, { credentialId: 'x', instanceId: 'y', sequence: 1n, receivedAtNanos: 2n })).toBe(same);
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
    for (const counter of counters) expect(hash({ [counter]: 12_345n }), counter).not.toBe(same);
    expect(hash({ region: 'eu-west1' })).not.toBe(same);
    expect(hash({ cpuCoresUsed: 2 })).not.toBe(same);
    expect(hash({ cpuUtilizationPct: 2 })).not.toBe(same);
  });

  it('reads back the keys and hashes of any rows', () => {
    const rowsOf = fc.array(fc.record({ customerId: id, vmId: id, region: id, bootId: id, cpuTimeNanos: uint64 }));
    fc.assert(
      fc.property(rowsOf, (changes) => {
        const windows = changes.map((changed) => ({ ...window, ...changed }));
        const rows = windows.map((each) => encodeRow(each, provenance));
        const read = [...rowKeys(Buffer.concat(rows.map(({ row }) => row)))];
        const expected = windows.map((each, i) => ({
          key: windowKey(each.customerId, each.vmId, each.startNanos, each.endNanos),
          valueHash: rows[i]?.valueHash,
        }));
        expect(read).toEqual(expected);
      }),
    );
  });
});
