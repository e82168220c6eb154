import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Client, Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { clientOf } from '../../demo/clients.ts';
import { startMeterd, stopMeterd } from '../../demo/meterd-process.ts';
import { BillingService as BillagedService } from '../../gen/billaged/v1/billing_pb.ts';
import { BillingService as OldBillagedService } from '../../gen/billing/v1/billaged_pb.ts';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { KeyRole, KeyService } from '../../gen/billing/v1/keys_pb.ts';
import { CounterTemporality } from '../../gen/billing/v1/metrics_pb.ts';
import { RefusedWindowService } from '../../gen/billing/v1/refused_pb.ts';
import { connectClickHouse } from '../../src/storage/clickhouse/client.ts';
import { createPostgresDatabase, newClickHouseUrl } from '../database.ts';
import { aSample } from '../ingest/a-reading.ts';
import { aWindow } from '../ingest/a-window.ts';
import { folderForTest, keyFor, meterdForTest } from '../meterd.ts';

const run = promisify(execFile);
const BUF = fileURLToPath(new URL('../../node_modules/.bin/buf', import.meta.url));
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const clickHouseUrl = newClickHouseUrl();
const meterd = await meterdForTest({ CLICKHOUSE_URL: clickHouseUrl });
const dataDir = await folderForTest();
const { CUMULATIVE, DELTA } = CounterTemporality;
const hostKey = await keyFor(meterd, { regions: ['eu-west1'], billagedCounters: CUMULATIVE });

const clickhouse = connectClickHouse({ url: clickHouseUrl });
afterAll(() => clickhouse.close());
const nowMs = Math.floor(Date.now() / 1000) * 1000 - 60_000;
const nowNanos = BigInt(nowMs) * 1_000_000n;

async function select(query: string): Promise<unknown[]> {
  return (await clickhouse.query({ query, format: 'JSONEachRow' })).json();
}

/** Rows of a query, once there are as many: what is acknowledged is stored a moment later. */
async function rows(query: string, count: number): Promise<unknown[]> {
  await expect.poll(() => select(query), { timeout: 20_000 }).toHaveLength(count);
  return select(query);
}

async function refusalOf(call: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await call;
  } catch (reason) {
    const { code, rawMessage } = ConnectError.from(reason);
    return { code: Code[code], message: rawMessage };
  }
  throw new Error('it was taken');
}

/** As metald calls: over HTTP/1.1. */
function http1(service: typeof BillagedService | typeof OldBillagedService, useBinaryFormat: boolean, key = hostKey) {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set('authorization', `Bearer ${key}`);
    return next(request);
  };
  const baseUrl = meterd.url;
  const transport = createConnectTransport({ baseUrl, httpVersion: '1.1', useBinaryFormat, interceptors: [authorize] });
  return createClient(service, transport);
}

function samples(count: number) {
  return Array.from({ length: count }, (_, i) => {
    return aSample({ timestamp: timestampFromMs(nowMs + i * 100), cpuTimeNanos: BigInt(i) * 1_000n });
  });
}

describe.each([
  ['billaged.v1', 'binary', BillagedService, true],
  ['billaged.v1', 'JSON', BillagedService, false],
  ['billing.v1', 'binary', OldBillagedService, true],
  ['billing.v1', 'JSON', OldBillagedService, false],
] as const)('%s.BillingService in %s over HTTP/1.1', (name, format, service, isBinary) => {
  const vmId = `vm-${name}-${format}`;
  const host: Client<typeof BillagedService> = http1(service, isBinary);

  it('takes a minute of samples, once however often they come', async () => {
    const request = { vmId, customerId: 'acme', metrics: samples(600) };
    expect(await host.sendMetricsBatch(request)).toMatchObject({ success: true, message: '' });
    expect(await host.sendMetricsBatch(request)).toMatchObject({ success: true, message: '' });
    const query = `SELECT counters, region, boot_id, cpu_time_nanos, memory_bytes_used FROM counter_samples
      WHERE vm_id = '${vmId}' AND customer_id = 'acme' ORDER BY sampled_at`;
    const found = await rows(query, 600);
    const common = { counters: 'cumulative', region: 'eu-west1', boot_id: '', memory_bytes_used: '4000000000' };
    expect(found[0]).toEqual({ ...common, cpu_time_nanos: '0' });
    expect(found[599]).toEqual({ ...common, cpu_time_nanos: '599000' });
  });

  it('takes notices and heartbeats', async () => {
    const startTime = nowNanos - 3_600_000_000_000n;
    expect(await host.notifyVmStarted({ vmId, customerId: 'acme', startTime })).toMatchObject({ success: true });
    expect(await host.notifyVmStopped({ vmId, stopTime: nowNanos })).toMatchObject({ success: true });
    const gap = { vmId, lastSent: nowNanos - 5_000n, resumeTime: nowNanos - 4_000n };
    expect(await host.notifyPossibleGap(gap)).toMatchObject({ success: true });
    const instanceId = `metald-${name}-${format}`;
    expect(await host.sendHeartbeat({ instanceId, activeVms: [vmId, 'b'] })).toMatchObject({ success: true });
    const query = `SELECT kind, customer_id, region, toString(reinterpretAsInt64(at)) AS at,
        toString(reinterpretAsInt64(until)) AS until FROM vm_events WHERE vm_id = '${vmId}' ORDER BY kind`;
    const told = { customer_id: '', region: 'eu-west1', at: String(nowNanos), until: String(nowNanos) };
    expect(await rows(query, 3)).toEqual([
      { ...told, kind: 'started', customer_id: 'acme', at: String(startTime), until: String(startTime) },
      { ...told, kind: 'stopped' },
      { ...told, kind: 'possible_gap', at: String(gap.lastSent), until: String(gap.resumeTime) },
    ]);
    const beats = `SELECT region, vm_ids FROM heartbeats WHERE instance_id = '${instanceId}'`;
    expect(await rows(beats, 1)).toEqual([{ region: 'eu-west1', vm_ids: [vmId, 'b'] }]);
  });

  it('notes for a key of several customers whose VMs it may tell of', async () => {
    const key = await keyFor(meterd, {
      regions: ['eu-west1'],
      customerIds: ['acme', 'bolt'],
      billagedCounters: CUMULATIVE,
    });
    const scoped: Client<typeof BillagedService> = http1(service, isBinary, key);
    expect(await scoped.notifyVmStopped({ vmId: `${vmId}-2`, stopTime: nowNanos })).toMatchObject({ success: true });
    const query = `SELECT customer_id FROM key_customers WHERE credential_id = '${key.split('_')[1]}' ORDER BY customer_id`;
    expect(await rows(query, 3)).toEqual([{ customer_id: '' }, { customer_id: 'acme' }, { customer_id: 'bolt' }]);
  });

  it('answers an empty batch as it always was', async () => {
    const answer = await host.sendMetricsBatch({ vmId, customerId: 'acme' });
    expect(answer).toMatchObject({ success: false, message: 'no metrics provided' });
  });
});

describe('buf curl', () => {
  it.each(['billaged.v1', 'billing.v1'])('finds %s by reflection and sends to it', async (name) => {
    const timestamp = new Date(nowMs).toISOString();
    const metrics = [{ timestamp, cpuTimeNanos: '9007199254740993', memoryUsageBytes: '1' }];
    const request = JSON.stringify({ vmId: `buf-${name}`, customerId: 'acme', metrics });
    const url = `${meterd.url}/${name}.BillingService/SendMetricsBatch`;
    const flags = ['--protocol', 'grpc', '--http2-prior-knowledge', '-H', `Authorization: Bearer ${hostKey}`];
    const { stdout } = await run(BUF, ['curl', ...flags, '-d', request, url], { cwd: ROOT });
    expect(JSON.parse(stdout)).toEqual({ success: true });
    const query = `SELECT cpu_time_nanos FROM counter_samples WHERE vm_id = 'buf-${name}'`;
    expect(await rows(query, 1)).toEqual([{ cpu_time_nanos: '9007199254740993' }]);
  });
});

describe('what is refused', () => {
  const host = http1(BillagedService, true);
  const good = { vmId: 'vm-bad', customerId: 'acme' };

  it('has its reason in the error, is kept, and leaves the good ones beside it taken', async () => {
    const yearOne = { seconds: -62_135_596_800n, nanos: 0 } as const;
    const metrics = [
      aSample({ timestamp: { $typeName: 'google.protobuf.Timestamp', ...yearOne } }),
      aSample({ timestamp: timestampFromMs(nowMs), cpuTimeNanos: -1n }),
      aSample({ timestamp: timestampFromMs(nowMs) }),
    ];
    const { code, message } = await refusalOf(host.sendMetricsBatch({ ...good, metrics }));
    expect(code).toBe('InvalidArgument');
    expect(message).toMatch(
      /^timestamp: 0001-01-01T.* \(metrics\[0\], the first of 2 refused samples; 1 were taken\)$/,
    );
    await rows("SELECT 1 FROM counter_samples WHERE vm_id = 'vm-bad'", 1);
    const operator = clientOf(RefusedWindowService, meterd.url, await keyFor(meterd, { role: KeyRole.OPERATOR }));
    const kept = async () => (await operator.listRefusedWindows({ credentialId: hostKey.split('_')[1] ?? '' })).windows;
    await expect.poll(kept, { timeout: 20_000 }).toHaveLength(2);
    expect((await kept()).map(({ field }) => field).toSorted()).toEqual(['cpu_time_nanos', 'timestamp']);
    expect((await kept())[0]?.metrics).toMatchObject({ vmId: 'vm-bad', customerId: 'acme', region: 'eu-west1' });
  });

  const wrong: [string, (client: Client<typeof BillagedService>) => Promise<unknown>, string, RegExp][] = [
    [
      'usage of nobody',
      (client) => client.sendMetricsBatch({ vmId: 'v', customerId: 'default-customer', metrics: samples(2) }),
      'InvalidArgument',
      /^customer_id: "default-customer" stands for no customer \(.* 2 refused samples; 0 were taken\)$/,
    ],
    [
      'usage without a customer',
      (client) => client.sendMetricsBatch({ vmId: 'v', metrics: samples(1) }),
      'InvalidArgument',
      /^customer_id is empty/,
    ],
    [
      'a start of nobody',
      (client) => client.notifyVmStarted({ vmId: 'v', startTime: nowNanos }),
      'InvalidArgument',
      /^customer_id is empty/,
    ],
    [
      'a stop at no time',
      (client) => client.notifyVmStopped({ vmId: 'v' }),
      'InvalidArgument',
      /^stop_time: 1970-01-01T.* is before 2000/,
    ],
    [
      'a gap without an end',
      (client) => client.notifyPossibleGap({ vmId: 'v', lastSent: nowNanos, resumeTime: nowNanos }),
      'InvalidArgument',
      /^resume_time/,
    ],
    [
      'a heartbeat with a VM that has no name',
      (client) => client.sendHeartbeat({ activeVms: [''] }),
      'InvalidArgument',
      /^active_vms is empty/,
    ],
    [
      'a stop long ago',
      (client) => client.notifyVmStopped({ vmId: 'v', stopTime: nowNanos - 40n * 86_400_000_000_000n }),
      'OutOfRange',
      /^stop_time: .* is more than 35 days ago/,
    ],
  ];
  it.each(wrong)('is %s', async (_, call, code, message) => {
    const refusal = await refusalOf(call(host));
    expect(refusal.code).toBe(code);
    expect(refusal.message).toMatch(message);
  });

  it('is what a key does not say enough about, or is not for', async () => {
    const send = async (key: string) => {
      const client = http1(BillagedService, false, key);
      return refusalOf(client.sendMetricsBatch({ ...good, metrics: samples(1) }));
    };
    expect(await send(await keyFor(meterd))).toMatchObject({
      code: 'FailedPrecondition',
      message: expect.stringMatching(/^region: billaged\.v1 names none/),
    });
    expect(await send(await keyFor(meterd, { regions: ['eu'] }))).toMatchObject({
      code: 'FailedPrecondition',
      message: expect.stringMatching(/^billaged_counters: key/),
    });
    const others = { regions: ['eu'], billagedCounters: DELTA, customerIds: ['other'] };
    expect(await send(await keyFor(meterd, others))).toMatchObject({ code: 'PermissionDenied' });
    expect(await send(await keyFor(meterd, { role: KeyRole.OPERATOR }))).toMatchObject({ code: 'PermissionDenied' });
  });

  it('is a key for counters from more than one region', async () => {
    const making = keyFor(meterd, { regions: ['a', 'b'], billagedCounters: DELTA });
    expect(await refusalOf(making)).toMatchObject({ code: 'InvalidArgument' });
    const keys = clientOf(KeyService, meterd.url, meterd.adminKey);
    const made = await keys.listKeys({ pageSize: 1000 });
    const known = made.keys.find(({ keyId }) => keyId === hostKey.split('_')[1]);
    expect(known?.billagedCounters).toBe(CUMULATIVE);
  });
});

describe('totals by billing.v1', () => {
  it('become readings, and answer for repeated and conflicting ones as windows do', async () => {
    const collector = clientOf(BillingCollectorService, meterd.url, await keyFor(meterd));
    const at = { windowStart: timestampFromMs(nowMs - 60_000), windowEnd: timestampFromMs(nowMs) };
    const metrics = [1, 2].map((n) => aWindow({ ...at, vmId: `total-${n}`, bootId: 'boot-1' }));
    const batch = { metrics, counterTemporality: CUMULATIVE, instanceId: 'metald-1' };
    expect(await collector.sendMetricsBatch(batch)).toMatchObject({ accepted: 2 });
    expect(await collector.sendMetricsBatch(batch)).toMatchObject({ accepted: 0, duplicate: 2 });
    const other = aWindow({ ...at, vmId: 'total-1', bootId: 'boot-2' });
    const conflict = { metrics: other, counterTemporality: CUMULATIVE };
    expect(await refusalOf(collector.sendMetrics(conflict))).toMatchObject({ code: 'AlreadyExists' });
    const bootless = aWindow({ ...at, vmId: 'total-3' });
    const answer = await collector.sendMetricsBatch({ ...batch, metrics: [bootless, ...metrics] });
    expect(answer).toMatchObject({ duplicate: 2, refused: 1, problems: [{ index: 0, field: 'boot_id' }] });
    const query = `SELECT vm_id, boot_id, counters, memory_byte_seconds FROM counter_samples
      WHERE vm_id LIKE 'total-%' ORDER BY vm_id, precedence DESC`;
    const common = { counters: 'cumulative', memory_byte_seconds: '240000000000' };
    expect(await rows(query, 3)).toEqual([
      { ...common, vm_id: 'total-1', boot_id: 'boot-1' },
      { ...common, vm_id: 'total-1', boot_id: 'boot-2' },
      { ...common, vm_id: 'total-2', boot_id: 'boot-1' },
    ]);
    expect(await select("SELECT 1 FROM windows WHERE vm_id LIKE 'total-%'")).toEqual([]);
  });
});

describe('what was acknowledged', () => {
  /** One that a failed test left behind would keep the run from ending. */
  async function start(environment: Readonly<Record<string, string>>) {
    const started = await startMeterd(dataDir, environment);
    onTestFinished(async () => void (await stopMeterd(started)));
    return started;
  }

  it('survives a kill while ClickHouse is away, and is known again when it is sent again', async () => {
    const storedAt = newClickHouseUrl();
    const DATABASE_URL = await createPostgresDatabase();
    const environment = { METERD_LISTEN: '127.0.0.1:0', CLICKHOUSE_URL: storedAt, DATABASE_URL };
    const first = await start(environment);
    const reader = connectClickHouse({ url: storedAt });
    onTestFinished(() => reader.close());
    // Nothing can be stored, so all of it is in the spool alone when it is killed.
    for (const table of ['counter_samples', 'vm_events', 'heartbeats']) {
      await reader.command({ query: `RENAME TABLE ${table} TO ${table}_away` });
    }
    const key = await keyFor(first, { regions: ['eu'], billagedCounters: DELTA });
    const request = { vmId: 'kept', customerId: 'acme', metrics: samples(50) };
    const host = clientOf(BillagedService, first.url, key);
    await host.sendMetricsBatch(request);
    await host.notifyVmStopped({ vmId: 'kept', stopTime: nowNanos });
    await host.sendHeartbeat({ instanceId: 'metald-1', activeVms: ['kept'] });
    const gone = once(first.child, 'exit');
    first.child.kill('SIGKILL');
    await gone;

    for (const table of ['counter_samples', 'vm_events', 'heartbeats']) {
      await reader.command({ query: `RENAME TABLE ${table}_away TO ${table}` });
    }
    const second = await start(environment);
    const again = await clientOf(BillagedService, second.url, key).sendMetricsBatch(request);
    expect(again).toMatchObject({ success: true, message: '' });
    const query = `SELECT (SELECT count() FROM counter_samples) AS samples, (SELECT count() FROM vm_events) AS events,
      (SELECT count() FROM heartbeats) AS beats`;
    const counts = async () => (await reader.query({ query, format: 'JSONEachRow' })).json();
    // Not FINAL: what came again was known from the spool, and not stored a second time.
    await expect.poll(counts, { timeout: 20_000 }).toEqual([{ samples: '50', events: '1', beats: '1' }]);
  });
});
