import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { clientOf } from '../../demo/clients.ts';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { CounterTemporality } from '../../gen/billing/v1/metrics_pb.ts';
import { RefusedWindowService } from '../../gen/billing/v1/refused_pb.ts';
import { aWindow } from '../ingest/a-window.ts';
import { folderForTest, meterdForTest } from '../meterd.ts';

const CLI = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
/** No job runs but those that a test asks for: one that runs already is refused. */
const NEVER = '0 0 29 2 *';
const meterd = await meterdForTest({ METERD_ROLLUP_SCHEDULE: NEVER, METERD_INVOICE_SCHEDULE: NEVER });
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

/** Out of what a command said in JSON. */
const LINE = z.object({ manualLineId: z.string() });
const INVOICES = z.array(z.object({ number: z.string() })).length(1);
const CREDIT_NOTES = z.array(z.object({ creditNoteId: z.string(), number: z.string() })).length(1);
const CONFLICTS = z.array(z.object({ reports: z.array(z.object({ valueHash: z.string() })) })).length(1);

function idOf(line: unknown): string {
  return LINE.parse(line).manualLineId;
}

function numberOf(invoices: unknown): string {
  return INVOICES.parse(invoices)[0]?.number ?? '';
}

function lastReportOf(conflicts: unknown): string {
  return CONFLICTS.parse(conflicts)[0]?.reports.at(-1)?.valueHash ?? '';
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

  const details = ['--country', 'DE', '--tax-region', 'DE', '--address', 'Am Markt 1', '--address', 'Berlin'];
  const email = ['--email', 'billing@cloud.example'];
  // What does not wait for each other goes side by side: most of a command's time is its start.
  const [, , , , made] = await Promise.all([
    cli('seller', 'put', '--name', 'Cloud AG', '--country', 'DE', '--tax-id', 'DE9', '--payment', 'IBAN DE1', ...email),
    cli('customer', 'create', 'acme', '--name', 'Acme', '--currency', 'EUR', ...details, ...email),
    cli('rate', 'put-tax', 'DE', 'VAT', '19', '--from', '2020-01-01'),
    cli('plan', 'save-draft', 'basic', '--currency', 'EUR', '--file', file),
    cli('key', 'create', 'host', '--role', 'collector', '--region', '*', '--backfill'),
  ]);
  const [seller] = await Promise.all([
    cli('seller', 'show'),
    cli('customer', 'update', 'acme', '--tax-id', 'DE1'),
    cli('plan', 'publish', 'basic', '--revision', '1', '--from', from),
  ]);
  expect(seller).toContain('Cloud AG');
  expect(await json('customer', 'show', 'acme')).toMatchObject({
    details: { taxId: 'DE1', country: 'DE', addressLines: ['Am Markt 1', 'Berlin'] },
  });
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
  const note = CREDIT_NOTES.parse(await json('credit-note', 'list'))[0];
  expect(note?.number).toBe('CN-000001');
  await cli('credit-note', 'pdf', note?.creditNoteId ?? '', '--out', pdf);
  expect((await readFile(pdf)).subarray(0, 5).toString()).toBe('%PDF-');
  const ubl = join(folder, 'credit-note.xml');
  await cli('credit-note', 'document', note?.creditNoteId ?? '', '--format', 'ubl', '--out', ubl);
  expect(await readFile(ubl, 'utf8')).toContain('<cbc:ID>CN-000001</cbc:ID>');
  await cli('payment', 'record', 'INV-000001', '23.80', '--reference', 'r-1');
  const [paid, payments, closings, balances, audit] = await Promise.all([
    json('invoice', 'show', 'INV-000001'),
    json('payment', 'list', 'INV-000001'),
    json('closing', 'list', '--period', period),
    cli('ledger', 'balances', '--prefix', 'receivable'),
    cli('audit', 'verify'),
  ]);
  expect(paid).toMatchObject({ amountDue: '0.00', amountPaid: '23.80' });
  expect(payments).toMatchObject([{ amount: '23.80', reference: 'r-1' }]);
  expect(closings).toMatchObject([{ customerId: 'acme', settled: true }]);
  expect(balances).toMatch(/0\.00\s+EUR/);
  expect(audit).toMatch(/^Intact\s+yes$/m);
}, 240_000);

it('what is said of a customer can be taken back', async () => {
  const inclusive = ['--name', 'Bolt', '--currency', 'EUR', '--prices-include-tax'];
  expect(await cli('customer', 'create', 'bolt-2', ...inclusive)).toMatch(/^Prices include tax\s+yes$/m);
  expect(await cli('customer', 'update', 'bolt-2', '--name', 'Bolt AG')).toMatch(/^Prices include tax\s+yes$/m);
  expect(await cli('customer', 'update', 'bolt-2', '--no-prices-include-tax')).toMatch(/^Prices include tax\s+no$/m);
}, 240_000);

it('a period that is mistyped or has nothing is told of, and never taken for one in which all is well', async () => {
  const admin = { METERD_KEY: meterd.adminKey };
  const [unproved, mistyped] = await Promise.all([
    run(admin, 'invoice', 'verify', '--period', '2001-01'),
    run(admin, 'closing', 'list', '--failed', '--period', '2026-9'),
  ]);
  expect([unproved.code, unproved.stderr]).toEqual([1, 'there is no final invoice of 2001-01: nothing was proved\n']);
  expect([mistyped.code, mistyped.stderr]).toEqual([1, expect.stringContaining('"2026-9" is no month')]);
}, 240_000);

it('what went wrong is set right: a conflict, a refused window, a line by hand, a discount, an invoice', async () => {
  const { startMs, period } = oldMonth();
  const from = new Date(startMs).toISOString();
  const at = (minutes: number): string => new Date(startMs + minutes * 60_000).toISOString();
  const counters = ['--region', 'us-east1', '--billaged-counters', 'delta'];
  const made = await cli('key', 'create', 'host-2', '--role', 'collector', ...counters, '--backfill');
  expect(made).toMatch(/^Counters\s+delta$/m);
  const [, secret = ''] = /^Secret\s+(\S+)$/m.exec(made) ?? [];
  const collector = clientOf(BillingCollectorService, meterd.url, secret);
  const windowAt = (minute: number) => {
    const windowStart = timestampFromMs(startMs + minute * 60_000);
    const windowEnd = timestampFromMs(startMs + (minute + 1) * 60_000);
    return { customerId: 'bolt', vmId: 'vm-1', windowStart, windowEnd, timestamp: windowEnd };
  };
  const cores = (count: bigint) => aWindow({ ...windowAt(0), cpuTimeNanos: count * 3_600_000_000_000n });
  await collector.sendMetricsBatch({ metrics: [cores(1n), aWindow({ ...windowAt(1), region: '' })] });
  await collector.sendMetricsBatch({ metrics: [cores(3n)] });
  const content = { charges: [{ chargeId: 'cpu', metric: 'cpu', unitPrice: { price: '1.00' } }] };
  await writeFile(join(folder, 'cores.json'), JSON.stringify(content));
  await Promise.all([
    cli('customer', 'create', 'bolt', '--name', 'Bolt', '--currency', 'EUR'),
    cli('plan', 'save-draft', 'cores', '--currency', 'EUR', '--file', join(folder, 'cores.json')),
  ]);
  await cli('plan', 'publish', 'cores', '--revision', '1', '--from', from);

  const off = ['--percent', '10', '--description', 'Welcome', '--from', from];
  const line = ['--description', 'Set-up', '--quantity', '2', '--unit-price', '10.50', '--at', at(60)];
  const [, added, gone] = await Promise.all([
    cli('subscription', 'start', 'bolt', 'cores', '--from', from),
    json('invoice', 'add-line', 'bolt', ...line),
    json('invoice', 'add-line', 'bolt', ...line),
    cli('discount', 'create', 'welcome', '--customer', 'bolt', ...off),
    cli('job', 'run', 'rollup'),
  ]);
  expect(added).toMatchObject({ customerId: 'bolt', quantity: '2', unitPrice: '10.50' });
  await cli('--yes', 'invoice', 'remove-line', idOf(gone));
  expect(await json('invoice', 'list-lines', '--customer', 'bolt')).toMatchObject([added]);

  const found = await json('conflict', 'list', '--from', from, '--until', at(60));
  expect(found).toMatchObject([{ customerId: 'bolt', reports: [{ metrics: { vmId: 'vm-1' } }, {}] }]);
  const which = ['--start', at(0), '--end', at(1), '--report', lastReportOf(found), '--reason', 'its host says so'];
  expect(await cli('conflict', 'resolve', 'bolt', 'vm-1', ...which)).toMatch(/^Counts\s+[0-9a-f]{16}$/m);
  const refused = clientOf(RefusedWindowService, meterd.url, meterd.adminKey);
  await expect.poll(async () => (await refused.listRefusedWindows({})).windows, { timeout: 20_000 }).toHaveLength(1);
  expect(await cli('refused', 'list')).toMatch(/bolt\s+vm-1\s+invalid_argument\s+region is empty/);
  expect(await json('gap', 'list', 'bolt', '--from', from, '--until', at(60))).toEqual([]);

  await cli('job', 'run', 'rollup');
  // 3 core-hours less 10 %, and the line.
  expect(await cli('closing', 'retry', 'bolt', period)).toMatch(/^Settled\s+yes$/m);
  const invoice = await json('invoice', 'list', '--customer', 'bolt');
  expect(invoice).toMatchObject([{ total: '23.70', state: 'INVOICE_STATE_FINAL' }]);
  const number = numberOf(invoice);
  const late = await run({ METERD_KEY: meterd.adminKey }, 'discount', 'end', 'welcome', '--until', at(-1));
  expect([late.code, late.stderr]).toEqual([1, expect.stringContaining('not after')]);
  await cli('invoice', 'add-line', 'bolt', ...line, '--idempotency-key', 'forgotten');
  expect(await cli('--yes', 'invoice', 'reissue', number, '--reason', 'a line was forgotten')).toMatch(
    /^Total\s+44\.70$/m,
  );
  expect(await json('invoice', 'list', '--customer', 'bolt', '--state', 'void')).toMatchObject([{ number }]);
  const end = new Date(Date.UTC(2100, 0)).toISOString();
  await cli('discount', 'end', 'welcome', '--until', end);
  expect(await cli('discount', 'list', '--customer', 'bolt')).toMatch(/^welcome\s+bolt\s+10\s.*2100-01-01/m);
}, 240_000);

it('shows conflicts of readings, gaps and secrets, and takes decisions on them', async () => {
  const { startMs } = oldMonth();
  const at = (minutes: number): string => new Date(startMs + minutes * 60_000).toISOString();
  const range = ['--from', at(0), '--until', at(60)];
  const made = await cli('key', 'create', 'host-3', '--role', 'collector', '--region', 'us-east1', '--backfill');
  const [, secret = ''] = /^Secret\s+(\S+)$/m.exec(made) ?? [];
  const collector = clientOf(BillingCollectorService, meterd.url, secret);
  const windowAt = (minute: number, vmId: string, cpuTimeNanos: bigint) => {
    const windowStart = timestampFromMs(startMs + minute * 60_000);
    const windowEnd = { ...timestampFromMs(startMs + (minute + 1) * 60_000), nanos: 7 };
    return aWindow({
      customerId: 'cog',
      vmId,
      windowStart,
      windowEnd,
      timestamp: windowEnd,
      cpuTimeNanos,
      bootId: 'b',
    });
  };
  // Totals of vm-1, the second of them twice with different values; of vm-2 windows with five minutes between them.
  const totals = [
    windowAt(0, 'vm-1', 10n),
    windowAt(1, 'vm-1', 50n),
    windowAt(2, 'vm-1', 90n),
    windowAt(1, 'vm-1', 60n),
  ];
  const counterTemporality = CounterTemporality.CUMULATIVE;
  expect(await collector.sendMetricsBatch({ metrics: totals, counterTemporality })).toMatchObject({ conflicting: 1 });
  await collector.sendMetricsBatch({ metrics: [windowAt(0, 'vm-2', 1n), windowAt(6, 'vm-2', 1n)] });
  await cli('job', 'run', 'rollup');

  const instant = at(2).replace('.000Z', '.000000007Z');
  const listed = await cli('conflict', 'list', 'cog', ...range);
  expect(listed).toMatch(
    new RegExp(`^cog\\s+vm-1\\s+${instant}\\s+a reading\\s+[0-9a-f]{16}, [0-9a-f]{16}\\s+the first\\s*$`, 'm'),
  );
  const found = await json('conflict', 'list', 'cog', ...range);
  expect(found).toMatchObject([{ reports: [{ counters: 'COUNTER_TEMPORALITY_CUMULATIVE' }, {}] }]);
  const choice = ['--start', instant, '--report', lastReportOf(found), '--reason', 'it was read twice'];
  expect(await cli('conflict', 'resolve', 'cog', 'vm-1', ...choice)).toContain(lastReportOf(found));
  expect(await cli('conflict', 'list', 'cog', ...range)).toBe('none\n');

  const gaps = await cli('gap', 'list', 'cog', ...range);
  const [from, until] = [at(1).replace('.000Z', '.000000007Z'), at(6).replace('.000Z', 'Z')];
  expect(gaps).toMatch(/^VM\s+Region\s+From\s+Until\s+Known by\s+May be filled\s*$/m);
  expect(gaps).toMatch(new RegExp(`^vm-2\\s+us-east1\\s+${from}\\s+${until}\\s+windows\\s+yes\\s*$`, 'm'));
  expect(await cli('gap', 'list', 'cog', ...range, '--vm', 'vm-1')).toBe('none\n');

  await writeFile(join(folder, 'value'), 'top secret');
  await cli('customer', 'create', 'cog', '--name', 'Cog', '--currency', 'EUR');
  const put = await cli('secret', 'put', 'psp', '--customer', 'cog', '--file', join(folder, 'value'));
  expect(put).toMatch(/^Name\s+psp$/m);
  await cli('secret', 'put', 'own', '--file', join(folder, 'value'));
  const secrets = await cli('secret', 'list');
  expect(secrets).toMatch(/^cog\s+psp\s+\S+\s+\S+Z\s+\S+\s*$/m);
  expect(put + secrets + JSON.stringify(await json('secret', 'list'))).not.toContain('top secret');
  expect(await cli('secret', 'rotate', '--new-key')).toMatch(/^2 secrets wrapped anew, all by \S+\n$/);
  const unasked = await run({ METERD_KEY: meterd.adminKey }, 'secret', 'delete', 'own');
  expect([unasked.code, unasked.stderr]).toEqual([2, expect.stringContaining('--yes')]);
  expect(await cli('--yes', 'secret', 'delete', 'psp', '--customer', 'cog')).toBe('psp is deleted\n');
  expect(await json('secret', 'list')).toMatchObject([{ name: 'own' }]);
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
    await run(admin, 'payment', 'record', 'INV-000001', '1', '--idempotency-key', 'without --at'),
    await run({}, 'customer', 'list'),
  ];
  expect(wrong.map(({ code }) => code)).toEqual([2, 2, 2, 2, 2]);
  expect((await run(admin, '--help')).code).toBe(0);
  await writeFile(join(folder, 'key'), `${meterd.adminKey}\n`);
  expect((await run({ METERD_KEY_FILE: join(folder, 'key') }, 'customer', 'list')).code).toBe(0);
}, 60_000);
