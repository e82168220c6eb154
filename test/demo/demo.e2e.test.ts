import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { folderForTest } from '../meterd.ts';

const run = promisify(execFile);
const DEMO = fileURLToPath(new URL('../../demo/main.ts', import.meta.url));

const dataDir = await folderForTest();

async function demo(): Promise<Record<string, unknown>> {
  const env = { ...process.env, METERD_DATA_DIR: dataDir, METERD_LISTEN: '127.0.0.1:0' };
  const { stdout } = await run(process.execPath, [DEMO, '--once', '--json'], { env });
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
}

const RESULT = {
  vmHours: '1872',
  windowsSent: 112_320,
  windowsStored: 112_320,
  invoiceNumber: 'INV-000001',
  invoiceTotal: '247.86',
  currency: 'USD',
  lines: [
    { description: 'CPU', quantity: '1872', unit: 'core-hour', unitPrice: '0.05', amount: '93.60' },
    { description: 'Memory', quantity: '7488', unit: 'GB-hour', unitPrice: '0.02', amount: '149.76' },
    { description: 'Disk I/O', quantity: '224.64', unit: 'GB', unitPrice: '0.01', amount: '2.25' },
    { description: 'Network', quantity: '224.64', unit: 'GB', unitPrice: '0.01', amount: '2.25' },
  ],
};

it('bills the worked example to the cent, and the same when everything is sent again', async () => {
  expect(await demo()).toEqual({ ...RESULT, windowsDuplicate: 0 });
  expect(await demo()).toEqual({ ...RESULT, windowsDuplicate: 112_320 });
}, 300_000);
