import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { BrokenRecords, isBroken } from '../../src/ingest/broken-records.ts';
import { encodeEvidence } from '../../src/ingest/evidence-rows.ts';
import type { SpoolRecord } from '../../src/ingest/record.ts';
import { RowBatch } from '../../src/ingest/row-batch.ts';
import { parseWindow } from '../../src/ingest/validate.ts';
import { blockParts } from '../../src/ingest/window-block.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';

const parent = await mkdtemp(join(tmpdir(), 'meterd-broken-'));
afterAll(() => rm(parent, { recursive: true, force: true }));

const bounds = { nowNanos: BigInt(NOW_MS) * 1_000_000n, lateDaysMax: 35, rawDays: 400, aheadNanosMax: 0n };
const provenance = { credentialId: 'k', instanceId: 'i', sequence: 7n, receivedAtNanos: BigInt(NOW_MS) * 1_000_000n };

function recordOf(vmIds: readonly string[]): SpoolRecord {
  const batch = new RowBatch(vmIds.length, provenance);
  for (const vmId of vmIds) batch.addWindow(parseWindow(aWindow({ vmId }), anySender, bounds));
  const rows = Buffer.concat(blockParts(batch.block()));
  return { rows, rowCount: batch.count, touched: [['acme', 3600]], evidence: [] };
}

const anyRecord = fc
  .array(fc.stringMatching(/^[a-z]{1,100}$/), { minLength: 1, maxLength: 4 })
  .map((vmIds) => recordOf(vmIds));

describe('a broken record', () => {
  it('is none whose rows are whole and as many as it says', () => {
    fc.assert(fc.property(anyRecord, (record) => !isBroken(record)));
  });

  it('is one that is cut anywhere, has something behind its rows, or another count', () => {
    fc.assert(
      fc.property(anyRecord, fc.nat(), fc.uint8Array({ minLength: 1 }), (record, at, tail) => {
        const { rows, rowCount } = record;
        expect(isBroken({ ...record, rows: rows.subarray(0, at % rows.length) })).toBe(true);
        expect(isBroken({ ...record, rows: Buffer.concat([rows, tail]) })).toBe(true);
        expect(isBroken({ ...record, rowCount: rowCount + 1 })).toBe(true);
      }),
    );
  });

  it('may be one of another table', () => {
    const event = {
      vm_id: 'vm-1',
      at: 1n,
      kind: 1,
      customer_id: 'acme',
      region: 'eu',
      until: 1n,
      instance_id: '',
      credential_id: 'k',
      precedence: 1n,
    };
    const evidence = encodeEvidence('vm_events', [event, event]);
    const record = { ...recordOf(['vm-1']), evidence: [evidence] };
    expect(isBroken(record)).toBe(false);
    const others = [
      { ...evidence, rows: evidence.rows.subarray(0, -1) },
      { ...evidence, rowCount: 1 },
      { ...evidence, rows: Buffer.concat([evidence.rows, Buffer.from([0])]) },
    ];
    for (const other of others) expect(isBroken({ ...record, evidence: [other] })).toBe(true);
  });

  it('of several tables is kept whole', async () => {
    const beat = { received_at: 1n, credential_id: 'k', instance_id: 'i', region: 'eu', vm_ids: ['vm-1'] };
    const evidence = encodeEvidence('heartbeats', [beat]);
    const record = { ...recordOf(['vm-1']), evidence: [evidence] };
    const file = await new BrokenRecords(join(parent, 'several')).keep(record, new Error('x'));
    expect(await readFile(file)).toEqual(Buffer.concat([record.rows, evidence.rows]));
    const about: unknown = JSON.parse(await readFile(`${file}.json`, 'utf8'));
    expect(about).toMatchObject({ rows: 2, evidence: [{ table: 'heartbeats', rows: 1, bytes: evidence.rows.length }] });
  });

  it('is one whose texts are not as many as its windows, or end elsewhere than they say', () => {
    const { rows, ...record } = recordOf(['vm-1', 'vm-2']);
    const at = rows.indexOf('vm-1') - 1;
    for (const length of [3, 5, 0x7f, 0x80]) {
      const changed = Buffer.from(rows);
      changed[at] = length;
      expect(isBroken({ ...record, rows: changed }), String(length)).toBe(true);
    }
  });

  it('is kept once, with why', async () => {
    const folder = join(parent, 'once');
    const broken = new BrokenRecords(folder);
    const record = recordOf(['vm-1']);
    const file = await broken.keep(record, new Error('Cannot read all data'));
    expect(await broken.keep(record, new Error('something else'))).toBe(file);
    expect(await readFile(file)).toEqual(record.rows);
    const about: unknown = JSON.parse(await readFile(`${file}.json`, 'utf8'));
    expect(about).toEqual({ reason: 'Cannot read all data', rows: 1, touched: [['acme', 3600]] });
    expect(await readdir(folder)).toHaveLength(2);
  });

  it('is written anew where keeping it was cut short', async () => {
    const folder = join(parent, 'cut-short');
    const broken = new BrokenRecords(folder);
    const record = recordOf(['vm-1']);
    const file = await broken.keep(record, new Error('x'));
    await rm(`${file}.json`);
    await writeFile(file, 'half');
    expect(await broken.keep(record, new Error('x'))).toBe(file);
    expect(await readFile(file)).toEqual(record.rows);
  });

  it('is not kept where there are too many already', async () => {
    const broken = new BrokenRecords(join(parent, 'full'));
    for (let i = 0; i < 64; i++) await broken.keep(recordOf([`vm-${i}`]), new Error('x'));
    await expect(broken.keep(recordOf(['one more']), new Error('x'))).rejects.toThrow(/has 64 broken records already/);
    await broken.keep(recordOf(['vm-0']), new Error('x'));
  });
});
