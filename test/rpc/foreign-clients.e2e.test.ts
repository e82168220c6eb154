import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { KeyRole } from '../../gen/billing/v1/keys_pb.ts';
import { keyFor, meterdForTest } from '../meterd.ts';

const run = promisify(execFile);
const BUF = fileURLToPath(new URL('../../node_modules/.bin/buf', import.meta.url));
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SEND = 'billing.v1.BillingCollectorService/SendMetricsBatch';

const meterd = await meterdForTest();
const hostKey = await keyFor(meterd);

/** One window of the last full minute but `minutesAgo`, in protobuf's JSON. */
function windowJson(vmId: string, minutesAgo = 1): object {
  const start = Math.floor(Date.now() / 60_000) * 60_000 - minutesAgo * 60_000;
  return {
    vmId,
    customerId: 'acme',
    region: 'us-east1',
    timestamp: new Date(start + 60_000).toISOString(),
    windowStart: new Date(start).toISOString(),
    windowEnd: new Date(start + 60_000).toISOString(),
    cpuTimeNanos: '60000000000',
    memoryBytesSeconds: '240000000000',
  };
}

async function bufCurl(
  flags: string[],
  method: string,
  request: object,
  key = hostKey,
): Promise<Record<string, unknown>> {
  const header = `Authorization: Bearer ${key}`;
  const args = ['curl', ...flags, '-H', header, '-d', JSON.stringify(request), `${meterd.url}/${method}`];
  const { stdout } = await run(BUF, args, { cwd: ROOT });
  return JSON.parse(stdout);
}

async function curl(flags: string[], method: string, request: object, key = hostKey): Promise<string> {
  const headers = ['-H', `Authorization: Bearer ${key}`, '-H', 'Content-Type: application/json'];
  const args = [
    '--silent',
    '--show-error',
    ...flags,
    ...headers,
    '-d',
    JSON.stringify(request),
    `${meterd.url}/${method}`,
  ];
  const { stdout } = await run('curl', args);
  return stdout;
}

describe('buf curl', () => {
  const ways: [string, string[]][] = [
    ['Connect over HTTP/1.1', ['--protocol', 'connect']],
    ['Connect over HTTP/2', ['--protocol', 'connect', '--http2-prior-knowledge']],
    ['gRPC over HTTP/2', ['--protocol', 'grpc', '--http2-prior-knowledge']],
    ['gRPC-Web over HTTP/1.1', ['--protocol', 'grpcweb']],
    ['gRPC-Web over HTTP/2', ['--protocol', 'grpcweb', '--http2-prior-knowledge']],
  ];
  it.each(ways)('sends a batch by %s', async (name, flags) => {
    const withSchema = [...flags, '--schema', 'proto'];
    const request = { metrics: [windowJson(`buf ${name}`)] };
    expect(await bufCurl(withSchema, SEND, request)).toEqual({ accepted: 1 });
    expect(await bufCurl(withSchema, SEND, request)).toEqual({ duplicate: 1 });
  });

  it('finds the methods by reflection', async () => {
    const flags = ['--protocol', 'grpc', '--http2-prior-knowledge'];
    expect(await bufCurl(flags, SEND, { metrics: [windowJson('by reflection')] })).toEqual({ accepted: 1 });
  });

  it('asks for health without a key', async () => {
    const args = ['curl', '--protocol', 'grpc', '--http2-prior-knowledge', `${meterd.url}/grpc.health.v1.Health/Check`];
    expect(JSON.parse((await run(BUF, args, { cwd: ROOT })).stdout)).toEqual({ status: 'SERVING' });
  });
});

describe('curl', () => {
  it('sends a batch in JSON over HTTP/1.1 and HTTP/2', async () => {
    const request = { metrics: [windowJson('curl')] };
    const first = JSON.parse(await curl(['--http1.1'], SEND, request));
    expect(first).toEqual({ accepted: 1, duplicate: 0, conflicting: 0, refused: 0, problems: [] });
    const second = JSON.parse(await curl(['--http2-prior-knowledge'], SEND, request));
    expect(second).toMatchObject({ accepted: 0, duplicate: 1 });
  });

  it('asks for usage with a customer key', async () => {
    const key = await keyFor(meterd, { role: KeyRole.CUSTOMER, customerIds: ['acme'] });
    const hour = Math.floor(Date.now() / 3_600_000) * 3_600_000;
    const range = { start: new Date(hour - 3_600_000).toISOString(), end: new Date(hour + 3_600_000).toISOString() };
    const answer = JSON.parse(await curl([], 'billing.v1.BillingQueryService/GetCustomerUsage', range, key));
    expect(Object.keys(answer)).toContain('groups');
  });
});
