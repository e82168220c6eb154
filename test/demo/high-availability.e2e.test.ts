import { once } from 'node:events';
import { copyFile, mkdir } from 'node:fs/promises';
import { createServer, type Server, type Socket, connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { clientOf } from '../../demo/clients.ts';
import { readInvoice, readUsage } from '../../demo/close-month.ts';
import { type MeterdProcess, startMeterd, stopMeterd } from '../../demo/meterd-process.ts';
import { replay, type Replayed } from '../../demo/replay.ts';
import { createHostKeys, type HostKey, registerCustomer, subscribe } from '../../demo/set-up.ts';
import { type WorkedExample, workedExample } from '../../demo/worked-example.ts';
import { InvoiceService, InvoiceState } from '../../gen/billing/v1/invoices_pb.ts';
import { JobOutcome, type JobRun, JobService } from '../../gen/billing/v1/jobs_pb.ts';
import { LedgerService } from '../../gen/billing/v1/ledger_pb.ts';
import { createPostgresDatabase, newClickHouseUrl } from '../database.ts';
import { folderForTest } from '../meterd.ts';

const DAY_MS = 86_400_000;
const EVERY_SECOND = '* * * * * *';
const WINDOWS_PER_BATCH = 120;
const month = workedExample(Date.now());
/** Its last two days: 3 VMs × 48 hours. */
const example = { ...month, vms: month.vms.map((vm) => ({ ...vm, startMs: month.endMs - 2 * DAY_MS })) };
const WINDOWS = 3 * 2 * 1440;

const clickhouseUrl = newClickHouseUrl();
const urls = { CLICKHOUSE_URL: clickhouseUrl, DATABASE_URL: await createPostgresDatabase() };
const folder = await folderForTest();
const started: MeterdProcess[] = [];
afterAll(async () => void (await Promise.all(started.map((meterd) => stopMeterd(meterd)))));

/** One of several over the same engines, with a data folder, and so a spool, of its own. */
async function start(name: string, environment: Readonly<Record<string, string>> = {}): Promise<MeterdProcess> {
  const schedules = { METERD_ROLLUP_SCHEDULE: EVERY_SECOND, METERD_INVOICE_SCHEDULE: EVERY_SECOND };
  const listen = { METERD_LISTEN: '127.0.0.1:0' };
  const meterd = await startMeterd(join(folder, name), { ...urls, ...schedules, ...listen, ...environment });
  started.push(meterd);
  return meterd;
}

/** A way to ClickHouse that can be cut for one meterd alone. */
async function cuttableClickHouse(): Promise<{ url: string; cut: () => Promise<void> }> {
  const { hostname, port } = new URL(clickhouseUrl);
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    const upstream = connect(Number(port), hostname);
    for (const each of [socket, upstream]) {
      sockets.add(each);
      each.on('error', () => undefined);
    }
    socket.pipe(upstream).pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('there is no port');
  const cut = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  const url = new URL(clickhouseUrl);
  url.port = String(address.port);
  return { url: url.href, cut };
}

function send(windows: WorkedExample, meterd: MeterdProcess, hostKeys: HostKey[], onSent = noop): Promise<Replayed> {
  const onAcknowledged = ({ sent }: Replayed): void => onSent(sent);
  return replay(windows, { url: meterd.url, hostKeys, windowsPerBatch: WINDOWS_PER_BATCH, onAcknowledged });
}

function noop(_sent: number): void {}

/** The part of the example between two shares of its time. */
function part(from: number, until: number): WorkedExample {
  const startMs = month.endMs - 2 * DAY_MS;
  const at = (share: number): number => startMs + Math.floor(share * 48) * 3_600_000;
  return { ...example, endMs: at(until), vms: example.vms.map((vm) => ({ ...vm, startMs: at(from) })) };
}

async function lastRun(meterd: MeterdProcess, job: string): Promise<JobRun | undefined> {
  const { runs } = await clientOf(JobService, meterd.url, meterd.adminKey).listJobRuns({ job });
  return runs.find(({ outcome }) => outcome === JobOutcome.SUCCEEDED);
}

it('loses nothing, bills nothing twice and goes on when one of two is killed', async () => {
  const way = await cuttableClickHouse();
  const first = await start('first', { CLICKHOUSE_URL: way.url });
  await mkdir(join(folder, 'second'));
  // Only the first of them makes a key.
  await copyFile(join(folder, 'first', 'admin.key'), join(folder, 'second', 'admin.key'));
  const second = await start('second');
  await registerCustomer(first, example);
  const hostKeys = await createHostKeys(first, example);

  // Both take windows, some of them the same ones.
  const [ofFirst, ofSecond] = await Promise.all([
    send(part(0, 0.5), first, hostKeys),
    send(part(0.25, 0.75), second, hostKeys),
  ]);
  expect([ofFirst.accepted, ofSecond.accepted]).toEqual([WINDOWS / 2, WINDOWS / 2]);

  const storedWindows = async (): Promise<bigint | undefined> => (await readUsage(second, example)).total?.windows;
  await expect.poll(storedWindows, { timeout: 20_000 }).toBe(BigInt((WINDOWS * 3) / 4));

  // What the first acknowledges from here on is in its spool alone when it is killed.
  await way.cut();
  let acknowledged = 0;
  const killed = once(first.child, 'exit');
  const sending = send(part(0.75, 1), first, hostKeys, (sent) => {
    acknowledged = sent;
    if (sent >= WINDOWS / 8) first.child.kill('SIGKILL');
  });
  await expect(sending).rejects.toThrow();
  await killed;
  expect(acknowledged).toBeGreaterThanOrEqual(WINDOWS / 8);
  expect(await storedWindows()).toBe(BigInt((WINDOWS * 3) / 4));

  // The jobs go on in the second, as do the windows that were not acknowledged.
  const killedMs = Date.now();
  const runAfterKill = async (): Promise<boolean> => {
    return Number((await lastRun(second, 'rollup'))?.startedAt?.seconds ?? 0) * 1000 > killedMs;
  };
  const sent = await send(part(0.9, 1), second, hostKeys);
  expect(sent.accepted).toBe(sent.sent);
  await expect.poll(runAfterKill, { timeout: 20_000 }).toBe(true);

  // Once it is back, what it had is stored without being sent again.
  const back = await start('first');
  const rest = await send(part(0.75, 1), back, hostKeys);
  expect(rest.duplicate).toBeGreaterThanOrEqual(acknowledged);
  await expect.poll(storedWindows, { timeout: 20_000 }).toBe(BigInt(WINDOWS));

  // Both close the month, each second, and whoever asks does so too.
  await subscribe(back, example);
  const invoices = clientOf(InvoiceService, second.url, second.adminKey);
  const closing = [back, second].map((meterd) => {
    return clientOf(JobService, meterd.url, meterd.adminKey).runJob({ job: 'invoices', period: example.period });
  });
  await Promise.allSettled(closing);
  const closed = async (): Promise<InvoiceState[]> => {
    return (await invoices.listInvoices({ customerId: example.customerId, period: example.period })).invoices.map(
      ({ state }) => state,
    );
  };
  await expect.poll(closed, { timeout: 20_000 }).toEqual([InvoiceState.FINAL]);
  const invoice = await readInvoice(back, example);
  // 144 core-hours, 576 GB-hours, 17.28 GB each of disk and network: 7.20 + 11.52 + 0.17 + 0.17.
  expect(invoice).toMatchObject({ number: 'INV-000001', total: '19.06' });
  expect((await readUsage(back, example)).completeness).toMatchObject({ conflicts: 0n });
  expect(await invoices.verifyInvoice({ invoiceId: invoice.number })).toMatchObject({ proved: true });
  const ledger = clientOf(LedgerService, back.url, back.adminKey);
  expect((await ledger.getBalances({ accountPrefix: 'receivable:' })).balances).toMatchObject([{ amount: '19.06' }]);
}, 300_000);
