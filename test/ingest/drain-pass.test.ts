import { expect, it } from 'vitest';
import { DrainPass } from '../../src/ingest/drain-pass.ts';
import { encodeRecord, TouchedHours } from '../../src/ingest/record.ts';
import { NO_WINDOWS } from '../../src/ingest/window-block.ts';
import { ListedSpool } from './a-writer.ts';

const MIB = 1024 * 1024;

it('ends before the rows that it holds until the windows are sent take more than 16 MiB and one read', async () => {
  const evidence = { table: 'heartbeats', rowCount: 1, rows: Buffer.alloc(5 * MIB) } as const;
  const payload = Buffer.concat(encodeRecord(NO_WINDOWS, new TouchedHours(), [evidence]));
  const spool = new ListedSpool(Array.from({ length: 8 }, () => payload));
  const pass = new DrainPass(spool, { bytesMax: 64 * MIB, readBytesMax: MIB }, new Map());
  for await (const block of pass.blocks())
    throw new Error(`there are no windows, and a block of ${block.length} bytes`);
  expect([pass.end, pass.rows]).toEqual([4, 4]);
});
