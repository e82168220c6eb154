import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { afterAll, expect, it } from 'vitest';
import { clientOf } from '../../demo/clients.ts';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { JobService } from '../../gen/billing/v1/jobs_pb.ts';
import { BillingQueryService } from '../../gen/billing/v1/query_pb.ts';
import { retry } from '../../src/lib/retry.ts';
import { newClickHouseUrl } from '../database.ts';
import { keyFor, meterdForTest, type TestMeterd } from '../meterd.ts';
import { untilGone } from '../storage/embedded/processes.ts';
import { aWindow } from './a-window.ts';

const HOUR_MS = 3_600_000;
const WINDOWS = 50;
const startMs = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - 2 * HOUR_MS;

/** A host whose every batch holds one minute of VMs that no other batch has. */
async function aHost(meterd: TestMeterd) {
  const collector = clientOf(BillingCollectorService, meterd.url, await keyFor(meterd));
  let batches = 0;
  return {
    acknowledged: 0,
    async send(): Promise<void> {
      const batch = batches++;
      const windowEnd = timestampFromMs(startMs + 60_000);
      const metrics = Array.from({ length: WINDOWS }, (_, i) => {
        const vmId = `vm-${batch}-${i}`;
        return aWindow({ vmId, windowStart: timestampFromMs(startMs), windowEnd, timestamp: windowEnd });
      });
      const { accepted } = await collector.sendMetricsBatch({ metrics });
      this.acknowledged += accepted;
    },
  };
}

/** Windows of the customer, each once. What is acknowledged has to be stored first: a rollup waits for it. */
async function countStored(meterd: TestMeterd): Promise<bigint | undefined> {
  await clientOf(JobService, meterd.url, meterd.adminKey).runJob({ job: 'rollup' });
  const answer = await queryUsage(meterd);
  return answer.total?.windows;
}

function queryUsage(meterd: TestMeterd) {
  const range = { start: timestampFromMs(startMs), end: timestampFromMs(startMs + HOUR_MS) };
  return clientOf(BillingQueryService, meterd.url, meterd.adminKey).getCustomerUsage({ customerId: 'acme', ...range });
}

const wire = await aWire(new URL(newClickHouseUrl()));
/** One with a ClickHouse of its own, and one that reaches the run's by the wire. */
const embedded = await meterdForTest({ CLICKHOUSE_URL: '' });
const wired = await meterdForTest({ CLICKHOUSE_URL: wire.url });

it('stores every acknowledged window once when its ClickHouse is killed under load, and starts it again', async () => {
  const host = await aHost(embedded);
  const pids = new Set<number>();
  for (const untilAcknowledged of [2_000, 6_000]) {
    while (host.acknowledged < untilAcknowledged) await Promise.all([host.send(), host.send(), host.send()]);
    pids.add(await killClickHouse(join(embedded.dataDir, 'clickhouse', 'data', 'status')));
    // Away or on its way back: it makes no difference to those who send.
    for (let i = 0; i < 20; i++) await Promise.all([host.send(), host.send(), host.send()]);
    expect(await countStored(embedded)).toBe(BigInt(host.acknowledged));
  }
  expect(pids.size).toBe(2);
  expect(embedded.child.exitCode).toBe(null);
});

it('takes windows, answers UNAVAILABLE to queries and stays ready while ClickHouse cannot be reached', async () => {
  const host = await aHost(wired);
  await host.send();
  expect(await countStored(wired)).toBe(BigInt(WINDOWS));

  await wire.cut();
  await host.send();
  await expect(queryUsage(wired)).rejects.toMatchObject({ code: Code.Unavailable });
  const noted = await untilAnswered(wired, '/readyz', /ClickHouse has been away for \d+ s/);
  expect(noted).toMatch(/^ready\n/);
  expect(await untilAnswered(wired, '/metrics', /^meterd_clickhouse_circuit\{.*\} [12]$/m)).toContain(
    'meterd_store_failures_total{kind="other"',
  );
  await host.send();

  await wire.mend();
  expect(await countStored(wired)).toBe(BigInt(3 * WINDOWS));
  expect(await untilAnswered(wired, '/readyz', /^ready\n$/)).toBe('ready\n');
});

/** @returns the process that was killed */
async function killClickHouse(statusFile: string): Promise<number> {
  const pid = Number(/PID: (\d+)/.exec(await readFile(statusFile, 'utf8'))?.[1]);
  process.kill(pid, 'SIGKILL');
  await untilGone(pid);
  return pid;
}

/** Asks until the answer is OK and as expected. */
async function untilAnswered(meterd: TestMeterd, path: string, expected: RegExp): Promise<string> {
  const ask = async (): Promise<string> => {
    const response = await fetch(`${meterd.url}${path}`);
    const text = await response.text();
    if (!response.ok || !expected.test(text)) throw new Error(`${path} answers ${response.status}: ${text}`);
    return text;
  };
  return retry(ask, { attemptsMax: 200, delayMs: 50, delayMsMax: 50 });
}

/** Passes bytes on to ClickHouse until it is cut, and again once it is mended. */
async function aWire(target: URL) {
  const sockets = new Set<Socket>();
  const listen = async (port: number): Promise<Server> => {
    const server = createServer((socket) => {
      const onwards = connect(Number(target.port), target.hostname);
      for (const [from, to] of [
        [socket, onwards],
        [onwards, socket],
      ] as const) {
        sockets.add(from);
        from.on('error', () => to.destroy()).once('close', () => sockets.delete(from));
        from.pipe(to);
      }
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return server;
  };
  let server = await listen(0);
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const cut = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  afterAll(() => (server.listening ? cut() : undefined));
  const url = new URL(target);
  url.port = String(port);
  const mend = async (): Promise<void> => void (server = await listen(port));
  return { url: url.href, cut, mend };
}
