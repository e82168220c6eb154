import { execFile } from 'node:child_process';
import { copyFile, cp, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { toJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { clientOf } from '../../demo/clients.ts';
import { closeMonth, readInvoice, readUsage } from '../../demo/close-month.ts';
import { startMeterd, stopMeterd } from '../../demo/meterd-process.ts';
import { replay } from '../../demo/replay.ts';
import { createHostKeys, registerCustomer, subscribe, type Target } from '../../demo/set-up.ts';
import { workedExample } from '../../demo/worked-example.ts';
import { AuditService } from '../../gen/billing/v1/audit_pb.ts';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { InvoiceSchema, InvoiceService } from '../../gen/billing/v1/invoices_pb.ts';
import { JobService } from '../../gen/billing/v1/jobs_pb.ts';
import { BillingQueryService } from '../../gen/billing/v1/query_pb.ts';
import { aWindow } from '../ingest/a-window.ts';
import { createPostgresDatabase, newClickHouseUrl } from '../database.ts';
import { folderForTest, keyFor, meterdForTest } from '../meterd.ts';

const CLI = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const RESTORE = fileURLToPath(new URL('../../src/restore.ts', import.meta.url));
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** No job runs but those that the test asks for. */
const NEVER = '0 0 29 2 *';

const urls = { CLICKHOUSE_URL: newClickHouseUrl(), DATABASE_URL: await createPostgresDatabase() };
const meterd = await meterdForTest({ ...urls, METERD_ROLLUP_SCHEDULE: NEVER, METERD_INVOICE_SCHEDULE: NEVER });
const folder = await folderForTest();
const backupFolder = join(folder, 'backup');

const month = workedExample(Date.now());
/** Its last two days. */
const example = { ...month, vms: month.vms.map((vm) => ({ ...vm, startMs: month.endMs - 2 * DAY_MS })) };
/** Minutes of yesterday and today that windows come in for while the backup is made. */
const liveStartMs = Math.floor(Date.now() / DAY_MS) * DAY_MS - DAY_MS;

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(program: string, args: string[], environment: Readonly<Record<string, string>>): Promise<Ended> {
  const env = { ...process.env, ...environment };
  return promisify(execFile)(process.execPath, [program, ...args], { env }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (failed: Ended) => ({ code: failed.code, stdout: failed.stdout, stderr: failed.stderr }),
  );
}

function backUp(to: string): Promise<Ended> {
  return run(CLI, ['backup', to], { METERD_URL: meterd.url, METERD_KEY: meterd.adminKey });
}

function restore(from: string, environment: Readonly<Record<string, string>>): Promise<Ended> {
  return run(RESTORE, [from], environment);
}

/** Sends a window a minute until it is told to stop. @returns what says how many were acknowledged so far */
async function sendOnAndOn(): Promise<{ acknowledged: () => number; stop: () => Promise<void> }> {
  const collector = clientOf(BillingCollectorService, meterd.url, await keyFor(meterd));
  let acknowledged = 0;
  const stopped = new AbortController();
  const first = Promise.withResolvers<void>();
  const send = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      const startMs = liveStartMs + acknowledged * MINUTE_MS;
      const [windowStart, windowEnd] = [timestampFromMs(startMs), timestampFromMs(startMs + MINUTE_MS)];
      const metrics = [aWindow({ customerId: 'live', windowStart, windowEnd, timestamp: windowEnd })];
      expect(await collector.sendMetricsBatch({ metrics })).toMatchObject({ accepted: 1 });
      if (++acknowledged === 50) first.resolve();
    }
  };
  const sending = send();
  await Promise.race([first.promise, sending]);
  return {
    acknowledged: () => acknowledged,
    stop: async () => {
      stopped.abort();
      await sending;
    },
  };
}

/** They were sent one after the other, so the first of them are there. */
async function liveWindows(target: Target): Promise<number> {
  const [start, end] = [timestampFromMs(liveStartMs), timestampFromMs(liveStartMs + 2 * DAY_MS)];
  const queries = clientOf(BillingQueryService, target.url, target.adminKey);
  return Number((await queries.getCustomerUsage({ customerId: 'live', start, end })).total?.windows);
}

const acknowledged = { before: 0, after: 0 };
let made: Ended;

beforeAll(async () => {
  await registerCustomer(meterd, example);
  const hostKeys = await createHostKeys(meterd, example);
  await replay(example, { url: meterd.url, hostKeys, windowsPerBatch: 600, onAcknowledged: () => undefined });
  await subscribe(meterd, example);
  await closeMonth(meterd, example);
  const invoice = await readInvoice(meterd, example);
  const invoices = clientOf(InvoiceService, meterd.url, meterd.adminKey);
  const payment = { invoiceId: invoice.invoiceId, amount: '1.00', paidAt: timestampFromMs(Date.now()) };
  await invoices.recordPayment({ ...payment, idempotencyKey: 'p', reference: 'r', method: 'transfer' });
  await clientOf(JobService, meterd.url, meterd.adminKey).runJob({ job: 'audit-anchor' });
  await mkdir(join(meterd.dataDir, 'quarantine'));
  await writeFile(join(meterd.dataDir, 'quarantine', 'rows-1'), 'acknowledged and not stored');

  const live = await sendOnAndOn();
  acknowledged.before = live.acknowledged();
  made = await backUp(backupFolder);
  await live.stop();
  acknowledged.after = live.acknowledged();
}, 300_000);

it('brings everything back that was acknowledged before, and proves every invoice', async () => {
  expect([made.code, made.stderr]).toEqual([0, expect.stringContaining('Writing files')]);
  // What came after the backup is in none of it, but that a backup was made is on record.
  const audit = await clientOf(AuditService, meterd.url, meterd.adminKey).listAuditRecords({ actionPrefix: 'backup.' });
  expect(audit.records).toMatchObject([{ action: 'backup.created', subject: backupFolder }]);
  const dataDir = join(folder, 'restored');

  const restored = await restore(backupFolder, { METERD_DATA_DIR: dataDir });
  expect([restored.code, restored.stdout]).toEqual([0, expect.stringContaining('invoices: 1 of 1 proved')]);
  expect(restored.stdout).toMatch(/^holds\s+audit trail: \d+ records, intact$/m);
  expect(await readFile(join(dataDir, 'quarantine', 'rows-1'), 'utf8')).toBe('acknowledged and not stored');

  await copyFile(join(meterd.dataDir, 'admin.key'), join(dataDir, 'admin.key'));
  const again = await startMeterd(dataDir, { METERD_LISTEN: '127.0.0.1:0', METERD_ROLLUP_SCHEDULE: NEVER });
  onTestFinished(async () => void (await stopMeterd(again)));
  const before = await readInvoice(meterd, example);
  expect(toJson(InvoiceSchema, await readInvoice(again, example))).toEqual(toJson(InvoiceSchema, before));
  expect(before).toMatchObject({ amountPaid: '1.00' });
  expect((await readUsage(again, example)).total).toEqual((await readUsage(meterd, example)).total);
  const invoices = clientOf(InvoiceService, again.url, again.adminKey);
  expect(await invoices.verifyInvoice({ invoiceId: before.number })).toMatchObject({ proved: true });
  expect(await clientOf(AuditService, again.url, again.adminKey).verifyAudit({})).toMatchObject({ intact: true });

  expect(await liveWindows(again)).toBeGreaterThanOrEqual(acknowledged.before);
  expect(await liveWindows(again)).toBeLessThanOrEqual(acknowledged.after);
  expect(await liveWindows(meterd)).toBe(acknowledged.after);
  // It goes on where the other was: the next number, and usage that everybody sends again.
  const hostKeys = await createHostKeys(again, example);
  await replay(example, { url: again.url, hostKeys, windowsPerBatch: 600, onAcknowledged: () => undefined });
  // What was due while it was down runs at the start, and a job is refused while it runs.
  const close = (): Promise<string> => closeMonth(again, example).then(() => 'closed', String);
  await expect.poll(close, { timeout: 20_000 }).toBe('closed');
  expect((await readUsage(again, example)).total).toEqual((await readUsage(meterd, example)).total);
}, 300_000);

it('goes into new databases only', async () => {
  expect(await restore(backupFolder, { METERD_DATA_DIR: meterd.dataDir, ...urls })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('is not empty: restore into a new folder'),
  });
  const fresh = { METERD_DATA_DIR: join(folder, 'fresh') };
  const fullPostgres = { CLICKHOUSE_URL: newClickHouseUrl(), DATABASE_URL: urls.DATABASE_URL };
  expect(await restore(backupFolder, { ...fresh, ...fullPostgres })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('the PostgreSQL database is not empty'),
  });
  await rm(fresh.METERD_DATA_DIR, { recursive: true });
  const fullClickHouse = { CLICKHOUSE_URL: urls.CLICKHOUSE_URL, DATABASE_URL: await createPostgresDatabase() };
  expect(await restore(backupFolder, { ...fresh, ...fullClickHouse })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('the ClickHouse database is not empty'),
  });
});

it('is written into a new folder only', async () => {
  expect(await backUp(backupFolder)).toMatchObject({ code: 1, stderr: expect.stringContaining('is not empty') });
  expect(await readdir(backupFolder)).toHaveLength(5);
  const nowhere = join(folder, 'missing', 'backup');
  expect(await backUp(nowhere)).toMatchObject({ code: 1, stderr: expect.stringContaining('cannot be made: ENOENT') });
});

describe('a backup that is damaged is refused by the name of its file:', () => {
  const WINDOWS = /^clickhouse\/windows\.\d+\.native\.zst$/;

  async function fileOf(damaged: string, which: RegExp): Promise<string> {
    const names = await readdir(damaged, { recursive: true });
    return names.find((name) => which.test(name)) ?? `no file is like ${which}`;
  }

  it.each<[string, RegExp, (path: string) => Promise<void>]>([
    ['a byte changed', WINDOWS, flipByte],
    ['cut', WINDOWS, (path) => truncate(path, 20)],
    ['removed', /^postgres\/invoices\.copy\.zst$/, (path) => rm(path)],
    ['a byte changed', /^postgres\/audit_records\.copy\.zst$/, flipByte],
    ['a byte changed', /^manifest\.json$/, flipByte],
    ['never written', /^manifest\.json\.sha256$/, (path) => rm(path)],
  ])('%s in %s', async (_, which, damage) => {
    const damaged = join(await folderForDamage(), 'backup');
    await cp(backupFolder, damaged, { recursive: true });
    const name = await fileOf(damaged, which);
    await damage(join(damaged, name));
    const refused = await restore(damaged, { METERD_DATA_DIR: join(damaged, 'data') });
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining(name)]);
    expect(await readdir(damaged)).not.toContain('data');
  });

  async function folderForDamage(): Promise<string> {
    const own = join(folder, `damaged-${(await readdir(folder)).length}`);
    await mkdir(own);
    return own;
  }

  async function flipByte(path: string): Promise<void> {
    const bytes = await readFile(path);
    const middle = Math.floor(bytes.length / 2);
    bytes[middle] = (bytes[middle] ?? 0) ^ 1;
    await writeFile(path, bytes);
  }
});
