import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { folderForTest } from '../meterd.ts';

const MAIN = fileURLToPath(new URL('../../bench/main.ts', import.meta.url));
const TIMEOUT_MS = 240_000;
const folder = await folderForTest();

it(
  'measures ingest with one command and finds every acknowledged window stored once',
  async () => {
    const file = join(folder, 'out.json');
    const args = [MAIN, 'ingest', '--seconds', '5', '--windows', 'small', '--json', file];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: TIMEOUT_MS });
    expect(stdout).toMatch(/cores .* GiB, .*Node v.*ClickHouse/);
    expect(stdout).toMatch(/stored rate .* ceiling/);
    const measured: { ingest: Record<string, unknown> } = JSON.parse(await readFile(file, 'utf8'));
    expect(measured.ingest['exact']).toBe(true);
    const numbers = [
      'storedWindowsPerSecond',
      'ceilingRowsPerSecond',
      'ratioToCeiling',
      'textbookWindowsPerSecond',
      'ackP50Ms',
      'ackP99Ms',
      'residentBytesMax',
      'bytesPerWindow',
    ];
    for (const name of numbers) expect(measured.ingest[name], name).toSatisfy((value) => Number(value) > 0);
    const byColumn = Object.entries(measured.ingest['bytesPerWindowByColumn'] ?? {});
    expect(byColumn.find(([column]) => column === 'value_hash')?.[1]).toBeCloseTo(8, 1);
    expect(measured.ingest['duplicates']).toSatisfy((value) => Number(value) > 0);
  },
  TIMEOUT_MS,
);

it('says which case it does not know, and tells of every one that it knows', async () => {
  const failed: unknown = await promisify(execFile)(process.execPath, [MAIN, 'ingst']).catch((error: unknown) => error);
  const [, known = ''] = /"ingst" is none of (.*)/.exec(String(failed)) ?? [];
  const { stdout: help } = await promisify(execFile)(process.execPath, [MAIN, '--help']);
  const names = known.split(', ');
  expect(names).toContain('growth');
  for (const name of names) expect(help, name).toMatch(new RegExp(`^(Cases|a case).*\\b${name}\\b`, 'm'));
});
