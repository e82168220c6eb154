import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { expect, it } from 'vitest';
import { clientOf } from '../../demo/clients.ts';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { aWindow } from '../ingest/a-window.ts';
import { folderForTest, meterdForTest } from '../meterd.ts';

const CLI = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const meterd = await meterdForTest();
const folder = await folderForTest();

const MINUTES = 60;
const CONTENT = {
  charges: [
    { chargeId: 'cpu', metric: 'cpu', unitPrice: { price: '0.50' } },
    { chargeId: 'support', description: 'Support', flatFee: { amount: '20.00' } },
  ],
};

/** The month before the last one: its invoices are past the grace. */
function oldMonth(): { startMs: number; period: string } {
  const now = new Date();
  const startMs = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - 2);
  return { startMs, period: new Date(startMs).toISOString().slice(0, 7) };
}

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(environment: Readonly<Record<string, string>>, ...args: string[]): Promise<Ended> {
  const { METERD_KEY: _key, METERD_KEY_FILE: _file, ...rest } = process.env;
  const env = { ...rest, METERD_URL: meterd.url, ...environment };
  const ended = promisify(execFile)(process.execPath, [CLI, ...args], { env });
  return ended.then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (failed: Ended) => ({ code: failed.code, stdout: failed.stdout, stderr: failed.stderr }),
  );
}

/** As the admin. @throws what the command said where it did not end with 0 */
async function cli(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run({ METERD_KEY: meterd.adminKey }, ...args);
  if (code !== 0) throw new Error(`meterd ${args.join(' ')} ended with ${code}: ${stderr}`);
  return stdout;
}

async function json(...args: string[]): Promise<unknown> {
  return JSON.parse(await cli('--json', ...args));
}

/** An hour of one core of one VM. */
async function sendAnHour(startMs: number, secret: string): Promise<void> {
  const metrics = Array.from({ length: MINUTES }, (_, minute) => {
    const windowStart = timestampFromMs(startMs + minute * 60_000);
    const windowEnd = timestampFromMs(startMs + (minute + 1) * 60_000);
    return aWindow({ customerId: 'acme', vmId: 'vm-1', windowStart, windowEnd, timestamp: windowEnd });
  });
  const answer = await clientOf(BillingCollectorService, meterd.url, secret).sendMetricsBatch({ metrics });
  expect(answer).toMatchObject({ accepted: MINUTES, refused: 0 });
}

it('a month, from registering a customer to its payment', async () => {
  const { startMs, period } = oldMonth();
  const from = new Date(startMs).toISOString();
  const file = join(folder, 'plan.json');
  await writeFile(file, JSON.stringify(CONTENT));

  await cli('seller', 'put', '--name', 'Cloud AG', '--country', 'DE', '--tax-id', 'DE9', '--payment', 'IBAN DE1');
  expect(await cli('seller', 'show')).toContain('Cloud AG');
  const details = ['--country', 'DE', '--tax-region', 'DE', '--address', 'Am Markt 1', '--address', 'Berlin'];
  await cli('customer', 'create', 'acme', '--name', 'Acme', '--currency', 'EUR', ...details);
  await cli('customer', 'update', 'acme', '--tax-id', 'DE1');
  expect(await json('customer', 'show', 'acme')).toMatchObject({
    details: { taxId: 'DE1', country: 'DE', addressLines: ['Am Markt 1', 'Berlin'] },
  });
  await cli('rate', 'put-tax', 'DE', 'VAT', '19', '--from', '2020-01-01');
  await cli('plan', 'save-draft', 'basic', '--currency', 'EUR', '--file', file);
  await cli('plan', 'publish', 'basic', '--revision', '1', '--from', from);
  const made = await cli('key', 'create', 'host', '--role', 'collector', '--region', '*', '--backfill');
  const [, secret = ''] = /^Secret\s+(\S+)$/m.exec(made) ?? [];
  await sendAnHour(startMs, secret);
  await cli('subscription', 'start', 'acme', 'basic', '--from', from);
  expect(await cli('plan', 'preview-draft', 'basic', '--period', period)).toContain('acme');

  await cli('job', 'run', 'rollup');
  expect(await cli('invoice', 'dry-run', period)).toMatch(/acme\s+EUR\s+24\.40/);
  await cli('job', 'run', 'invoices', '--period', period);
  expect(await json('invoice', 'list', '--period', period)).toMatchObject([{ number: 'INV-000001', total: '24.40' }]);
  const shown = await cli('invoice', 'show', 'INV-000001');
  expect(shown).toMatch(/^CPU\s+1\s.*core-hour\s+0\.50?\s+0\.50$/m);
  expect(shown).toMatch(/^Total\s+24\.40$/m);
  expect(shown).toMatch(/^State\s+final$/m);

  const pdf = join(folder, 'invoice.pdf');
  await cli('invoice', 'pdf', 'INV-000001', '--out', pdf);
  expect((await readFile(pdf)).subarray(0, 5).toString()).toBe('%PDF-');
  expect(await cli('invoice', 'verify', 'INV-000001')).toContain('INV-000001 is proved');
  const ofPeriod = await run({ METERD_KEY: meterd.adminKey }, 'invoice', 'verify', '--period', period);
  expect([ofPeriod.code, ofPeriod.stderr]).toEqual([0, expect.stringContaining('proved: 1 of 1')]);

  await cli('--yes', 'credit-note', 'create', 'INV-000001', '--reason', 'goodwill', '--line', '1=0.50');
  expect(await cli('credit-note', 'list')).toContain('CN-000001');
  await cli('payment', 'record', 'INV-000001', '23.80', '--reference', 'r-1');
  expect(await json('invoice', 'show', 'INV-000001')).toMatchObject({ amountDue: '0.00', amountPaid: '23.80' });
  expect(await json('payment', 'list', 'INV-000001')).toMatchObject([{ amount: '23.80', reference: 'r-1' }]);
  expect(await json('closing', 'list', '--period', period)).toMatchObject([{ customerId: 'acme', settled: true }]);
  expect(await cli('ledger', 'balances', '--prefix', 'receivable')).toMatch(/0\.00\s+EUR/);
  expect(await cli('audit', 'verify')).toMatch(/^Intact\s+yes$/m);
}, 240_000);

it('ends with 1 and the message alone where something is wrong, with 2 where the command line is', async () => {
  const admin = { METERD_KEY: meterd.adminKey };
  const unknown = await run(admin, 'invoice', 'show', 'INV-999999');
  expect([unknown.code, unknown.stdout]).toEqual([1, '']);
  expect(unknown.stderr).toMatch(/^[^\n]*INV-999999[^\n]*\n$/);
  const unasked = await run(admin, 'invoice', 'void', 'INV-999999', '--reason', 'none');
  expect([unasked.code, unasked.stderr]).toEqual([2, expect.stringContaining('--yes')]);
  const wrong = [
    await run(admin, 'invoice', 'pdf', 'INV-000001'),
    await run(admin, 'subscription', 'end', 'acme', '--at', '1st of May'),
    await run(admin, 'invoice', 'list', '--state', 'lost'),
    await run({}, 'customer', 'list'),
  ];
  expect(wrong.map(({ code }) => code)).toEqual([2, 2, 2, 2]);
  expect((await run(admin, '--help')).code).toBe(0);
  await writeFile(join(folder, 'key'), `${meterd.adminKey}\n`);
  expect((await run({ METERD_KEY_FILE: join(folder, 'key') }, 'customer', 'list')).code).toBe(0);
}, 60_000);
