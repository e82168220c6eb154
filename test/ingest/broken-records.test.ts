import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { BrokenRecords, isBroken } from '../../src/ingest/broken-records.ts';
import type { SpoolRecord } from '../../src/ingest/record.ts';
import { RowBatch } from '../../src/ingest/row-batch.ts';
import { parseWindow } from '../../src/ingest/validate.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';

const parent = await mkdtemp(join(tmpdir(), 'meterd-broken-'));
afterAll(() => rm(parent, { recursive: true, force: true }));

const bounds = { nowNanos: BigInt(NOW_MS) * 1_000_000n, lateDaysMax: 35, aheadNanosMax: 0n };
const provenance = { credentialId: 'k', instanceId: 'i', sequence: 7n, receivedAtNanos: BigInt(NOW_MS) * 1_000_000n };

function recordOf(vmIds: readonly string[]): SpoolRecord {
  const batch = new RowBatch(vmIds.length, provenance);
  for (const vmId of vmIds) batch.addWindow(parseWindow(aWindow({ vmId }), anySender, bounds));
  return { rows: Buffer.from(batch.rows()), rowCount: batch.count, touched: [['acme', 3600]] };
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
