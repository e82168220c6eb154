import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeEvidence, type EvidenceRow, readEvidence } from '../../src/ingest/evidence-rows.ts';
import { sampleRow } from '../../src/ingest/reading.ts';
import { decodeRecord, encodeRecord, rowsOf, TouchedHours, windowsOf } from '../../src/ingest/record.ts';
import { NO_WINDOWS, type WindowBlock } from '../../src/ingest/window-block.ts';
import { aReading } from './a-reading.ts';

const PROVENANCE = { credentialId: 'k', instanceId: 'i', receivedAtNanos: 1_000n };

const text = fc.string({ unit: 'grapheme', maxLength: 200 }).map((any) => any.toWellFormed());
const word = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const event: fc.Arbitrary<EvidenceRow<'vm_events'>> = fc.record({
  vm_id: text,
  at: word,
  kind: fc.constantFrom(1, 2, 3),
  customer_id: text,
  region: text,
  until: word,
  instance_id: text,
  credential_id: text,
  precedence: word,
});
const heartbeat: fc.Arbitrary<EvidenceRow<'heartbeats'>> = fc.record({
  received_at: word,
  credential_id: text,
  instance_id: text,
  region: text,
  vm_ids: fc.array(text, { maxLength: 200 }),
});
const sample: fc.Arbitrary<EvidenceRow<'counter_samples'>> = fc
  .record({ vm_id: text, boot_id: text, customer_id: text, sampled_at: word, cpu_time_nanos: word, linked_to: word })
  .map((changes) => ({ ...sampleRow(aReading(), PROVENANCE), ...changes }));

const windows: WindowBlock = {
  count: 1,
  words: Buffer.alloc(128, 'w'),
  texts: [Buffer.from('abc'), Buffer.from('de'), Buffer.from('f'), Buffer.from('ghij')],
  call: Buffer.from('calls'),
};

/** The rows of one table, as they come back from a record. */
function evidenceOf(payload: Buffer): unknown[][] {
  return decodeRecord(payload).evidence.map(({ table, rows }) => [table, ...readEvidence(table, rows)]);
}

describe('a record', () => {
  it('of windows has them column by column', () => {
    const touched = new TouchedHours();
    touched.add('acme', 3600);
    const payload = Buffer.concat(encodeRecord(windows, touched));
    const lengths = '\x03\0\0\0\x02\0\0\0\x01\0\0\0\x04\0\0\0\x05\0\0\0\0\0\0\0';
    expect(payload.toString('latin1')).toBe(
      `\x02\0\0\0\x24\0\0\0{"rows":1,"touched":[["acme",3600]]}${lengths}${'w'.repeat(128)}abcdefghijcalls`,
    );
    expect(decodeRecord(payload)).toMatchObject({ rowCount: 1, touched: [['acme', 3600]], evidence: [] });
    expect(windowsOf(decodeRecord(payload))).toEqual(windows);
  });

  it('gives back what was put into it, of every table, beside windows or without', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(windows, NO_WINDOWS),
        fc.array(sample, { maxLength: 5 }),
        fc.array(event, { minLength: 1, maxLength: 5 }),
        fc.array(heartbeat, { maxLength: 3 }),
        (block, samples, events, heartbeats) => {
          const evidence = [
            encodeEvidence('counter_samples', samples),
            encodeEvidence('vm_events', events),
            encodeEvidence('heartbeats', heartbeats),
          ];
          const payload = Buffer.concat(encodeRecord(block, new TouchedHours(), evidence));
          const record = decodeRecord(payload);
          expect([record.touched, windowsOf(record)]).toEqual([[], block]);
          expect(evidenceOf(payload)).toEqual([
            ['counter_samples', ...samples],
            ['vm_events', ...events],
            ['heartbeats', ...heartbeats],
          ]);
          expect(rowsOf(record)).toBe(block.count + samples.length + events.length + heartbeats.length);
        },
      ),
    );
  });

  it('of another version is refused', () => {
    expect(() => decodeRecord(Buffer.from([3, 0, 0, 0, 2, 0, 0, 0, 0x7b, 0x7d]))).toThrow(/version 3/);
    expect(() => decodeRecord(Buffer.from([1, 0, 0, 0, 2, 0, 0, 0, 0x7b, 0x7d]))).toThrow(/version 1/);
  });
});

describe('rows of other tables', () => {
  it('are laid out as RowBinary, in an order that lies in every spool', () => {
    const at = 0x0102_0304_0506_0708n;
    const [stop, beat] = [
      encodeEvidence('vm_events', [
        {
          vm_id: 'v',
          at,
          kind: 2,
          customer_id: '',
          region: 'r',
          until: at,
          instance_id: 'i',
          credential_id: 'k',
          precedence: 1n,
        },
      ]),
      encodeEvidence('heartbeats', [
        { received_at: at, credential_id: 'k', instance_id: 'i', region: 'r', vm_ids: ['a', 'bc'] },
      ]),
    ];
    const time = '0807060504030201';
    expect(stop.rows.toString('hex')).toBe(`0176${time}02000172${time}0169016b0100000000000000`);
    expect(beat.rows.toString('hex')).toBe(`${time}016b01690172020161026263`);
    const reading = encodeEvidence('counter_samples', [sampleRow(aReading(), PROVENANCE)]).rows;
    expect(reading.subarray(0, 10).toString('latin1')).toBe('\x04acme\x04vm-1');
    expect(reading.readBigUInt64LE(10)).toBe(aReading().sampledAtNanos);
    expect(reading.subarray(26, 43).toString('latin1')).toBe('\x02\x06boot-1\x08us-east1');
    expect(reading.subarray(-12, -8).toString('latin1')).toBe('\x01i\x01k');
  });

  it('that are cut off anywhere are no rows', () => {
    const { rows } = encodeEvidence('heartbeats', [
      { received_at: 1n, credential_id: 'k', instance_id: 'i', region: 'r', vm_ids: ['a', 'b'.repeat(300)] },
    ]);
    for (let bytes = 1; bytes < rows.length; bytes++) {
      expect(() => [...readEvidence('heartbeats', rows.subarray(0, bytes))]).toThrow(RangeError);
    }
    expect(() => [...readEvidence('heartbeats', Buffer.alloc(40, 0xff))]).toThrow(RangeError);
  });
});
