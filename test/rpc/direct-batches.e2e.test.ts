import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { SendMetricsBatchRequestSchema, SendMetricsBatchResponseSchema } from '../../gen/billing/v1/collector_pb.ts';
import { KeyRole } from '../../gen/billing/v1/keys_pb.ts';
import { CounterTemporality } from '../../gen/billing/v1/metrics_pb.ts';
import { keyFor, meterdForTest } from '../meterd.ts';

const meterd = await meterdForTest({ METERD_BODY_KIB_MAX: '64' });
const host = await keyFor(meterd);
const operator = await keyFor(meterd, { role: KeyRole.OPERATOR });
const european = await keyFor(meterd, { regions: ['eu-west1'] });
const URL = `${meterd.url}/billing.v1.BillingCollectorService/SendMetricsBatch`;
const minute = Math.floor(Date.now() / 60_000) * 60_000 - 60_000;

/** One window of a VM. */
function requestOf(vmId: string, changes: { cpu?: bigint; endMs?: number; counters?: CounterTemporality } = {}) {
  const end = timestampFromMs(changes.endMs ?? minute + 60_000);
  const times = { timestamp: end, windowStart: timestampFromMs(minute), windowEnd: end };
  const metrics = { ...times, vmId, customerId: 'acme', region: 'us-east1', cpuTimeNanos: changes.cpu ?? 1n };
  const counterTemporality = changes.counters ?? CounterTemporality.UNSPECIFIED;
  const request = create(SendMetricsBatchRequestSchema, { metrics: [metrics], counterTemporality });
  return toBinary(SendMetricsBatchRequestSchema, request);
}

/** A call and all of its answer that a client goes by. `identity` is an encoding that only the library knows. */
async function answerTo(way: 'direct' | 'library', body: Uint8Array<ArrayBuffer>, headers: Record<string, string>) {
  const packed = way === 'library' ? { 'content-encoding': 'identity' } : {};
  const response = await fetch(URL, {
    method: 'POST',
    headers: { 'content-type': 'application/proto', authorization: `Bearer ${host}`, ...packed, ...headers },
    body,
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const answer = response.ok ? fromBinary(SendMetricsBatchResponseSchema, bytes) : JSON.parse(bytes.toString());
  const [type, length, retryAfter] = ['content-type', 'content-length', 'retry-after'].map((name) => {
    return response.headers.get(name);
  });
  return { status: response.status, type, length, retryAfter, answer };
}

const garbled = requestOf('vm-garbled').slice(0, -3);
const cases: [string, (vmId: string) => Uint8Array<ArrayBuffer>, Record<string, string>, number][] = [
  ['a good window', (vmId) => requestOf(vmId), {}, 200],
  ['a good window, with a deadline', (vmId) => requestOf(vmId), { 'connect-timeout-ms': '10000' }, 200],
  ['a window again', () => requestOf('vm-again'), {}, 200],
  ['a window again with other values', () => requestOf('vm-again', { cpu: 2n }), {}, 200],
  ['a window that ends before it starts', (vmId) => requestOf(vmId, { endMs: minute - 1 }), {}, 400],
  [
    'totals of counters without a boot id',
    (vmId) => requestOf(vmId, { counters: CounterTemporality.CUMULATIVE }),
    {},
    400,
  ],
  ['no windows', () => new Uint8Array(), {}, 400],
  ['a message that is cut off', () => garbled, {}, 400],
  ['a body that is too large', () => new Uint8Array(70_000), {}, 429],
  ['no key', (vmId) => requestOf(vmId), { authorization: '' }, 401],
  ['a key that may not send', (vmId) => requestOf(vmId), { authorization: `Bearer ${operator}` }, 403],
  ['a key for other regions', (vmId) => requestOf(vmId), { authorization: `Bearer ${european}` }, 403],
  ['a deadline that is none', (vmId) => requestOf(vmId), { 'connect-timeout-ms': 'soon' }, 400],
  ['a deadline that is too far off', (vmId) => requestOf(vmId), { 'connect-timeout-ms': '9999999999' }, 400],
];

describe('a batch by the short way', () => {
  it.each(cases)('is answered as the library answers it: %s', async (name, bodyOf, headers, status) => {
    await answerTo('library', requestOf('vm-again'), {});
    const direct = await answerTo('direct', bodyOf(`${name} direct`), headers);
    const library = await answerTo('library', bodyOf(`${name} library`), headers);
    expect(direct).toEqual(library);
    expect(direct.status).toBe(status);
  });

  it('is told at once where its deadline is over before it began', async () => {
    const late = await answerTo('direct', requestOf('vm-late'), { 'connect-timeout-ms': '0' });
    expect([late.status, late.answer.code]).toEqual([504, 'deadline_exceeded']);
  });
});
