import { describe, expect, it } from 'vitest';
import { keyFor, meterdForTest } from '../meterd.ts';

const meterd = await meterdForTest({ METERD_BODY_KIB_MAX: '64' });
const anyKey = await keyFor(meterd);
const regionKey = await keyFor(meterd, { regions: ['eu-west1'] });
const SEND = 'BillingCollectorService/SendMetricsBatch';

const minute = Math.floor(Date.now() / 60_000) * 60_000 - 60_000;
const iso = (ms: number): string => new Date(ms).toISOString();

let vmCount = 0;
function window(changes: object = {}): object {
  return {
    vmId: `vm-${vmCount++}`,
    customerId: 'acme',
    region: 'us-east1',
    timestamp: iso(minute + 60_000),
    windowStart: iso(minute),
    windowEnd: iso(minute + 60_000),
    cpuTimeNanos: '60000000000',
    ...changes,
  };
}

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function answerOf(response: Response): Promise<Answer> {
  const body: Answer['body'] = JSON.parse(await response.text());
  return { status: response.status, body };
}

async function post(body: string | Uint8Array<ArrayBuffer> | object, key = anyKey, headers = {}): Promise<Answer> {
  const isText = typeof body === 'string' || body instanceof Uint8Array;
  const response = await fetch(`${meterd.url}/billing.v1.${SEND}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}`, ...headers },
    body: isText ? body : JSON.stringify(body),
  });
  return answerOf(response);
}

/** What refuses a whole call, over HTTP's status and Connect's code. */
function expectRefused(answer: Answer, status: number, code: string, message: RegExp): void {
  expect(answer.body).toMatchObject({ code });
  expect(String(answer.body['message'])).toMatch(message);
  expect(answer.status).toBe(status);
}

describe('a bad window', () => {
  const table: [string, object, number, string, RegExp][] = [
    [
      'with an end before its start',
      { windowEnd: iso(minute - 1000) },
      400,
      'invalid_argument',
      /metrics\[0\]\.window_end: .* is not after window_start/,
    ],
    ['without a VM', { vmId: '' }, 400, 'invalid_argument', /metrics\[0\]\.vm_id is empty/],
    ['without a customer', { customerId: '' }, 400, 'invalid_argument', /metrics\[0\]\.customer_id is empty/],
    ['of nobody', { customerId: 'default-customer' }, 400, 'invalid_argument', /customer_id: "default-customer"/],
    [
      'in year 1',
      { windowStart: '0001-01-01T00:00:00Z' },
      400,
      'invalid_argument',
      /window_start: 0001-01-01T00:00:00.000Z/,
    ],
    ['sampled in year 1', { timestamp: '0001-01-01T00:00:00Z' }, 400, 'invalid_argument', /timestamp: 0001-01-01/],
    [
      'of 40 days ago',
      { windowStart: iso(minute - 40 * 86_400_000), windowEnd: iso(minute - 40 * 86_400_000 + 60_000) },
      400,
      'out_of_range',
      /more than 35 days ago, and key [0-9a-f]{16} has no right to backfill/,
    ],
    ['of an hour ahead', { windowEnd: iso(minute + 3_600_000) }, 400, 'out_of_range', /more than 300 s ahead/],
  ];
  it.each(table)('%s is refused, and the good one beside it is kept', async (_, changes, status, code, message) => {
    expectRefused(await post({ metrics: [window(changes)] }), status, code, message);
    const good = window();
    const { status: ok, body } = await post({ metrics: [good, window(changes)] });
    expect(ok).toBe(200);
    expect(body).toMatchObject({ accepted: 1, refused: 1, problems: [{ index: 1, code }] });
    expect((await post({ metrics: [good] })).body).toMatchObject({ duplicate: 1 });
  });

  it('of another region than its key reports for is refused, and the good one beside it is kept', async () => {
    expectRefused(
      await post({ metrics: [window()] }, regionKey),
      403,
      'permission_denied',
      /metrics\[0\]\.region: "us-east1" is not one that key [0-9a-f]{16} reports for \(eu-west1\)/,
    );
    const { body } = await post({ metrics: [window(), window({ region: 'eu-west1' })] }, regionKey);
    expect(body).toMatchObject({ accepted: 1, refused: 1, problems: [{ index: 0, code: 'permission_denied' }] });
  });
});

describe('a bad number', () => {
  it('beyond 64 bits is refused, with the field', async () => {
    const answer = await post({ metrics: [window({ cpuTimeNanos: '18446744073709551616' })] });
    expectRefused(answer, 400, 'invalid_argument', /cpu_?time_?nanos|cpuTimeNanos/i);
  });

  it('as a JSON number beyond 2^53 is refused, with the field and the digits', async () => {
    const body = JSON.stringify({ metrics: [window({ diskReadBytes: 0 })] }).replace(
      '"diskReadBytes":0',
      '"diskReadBytes":9007199254740993',
    );
    expectRefused(await post(body), 400, 'invalid_argument', /diskReadBytes: 9007199254740993 .* send .* as strings/);
    const exact = await post({ metrics: [window({ diskReadBytes: '9007199254740993' })] });
    expect(exact.body).toMatchObject({ accepted: 1 });
  });

  it('below zero is refused', async () => {
    expectRefused(
      await post({ metrics: [window({ cpuTimeNanos: '-1' })] }),
      400,
      'invalid_argument',
      /cpuTimeNanos|cpu_time/i,
    );
  });
});

describe('a bad call', () => {
  it('without windows is refused', async () => {
    expectRefused(await post({ metrics: [] }), 400, 'invalid_argument', /metrics is empty/);
    expectRefused(await post({}), 400, 'invalid_argument', /metrics is empty/);
  });

  it('over the bound is refused, in JSON and in protobuf', async () => {
    const large = { metrics: Array.from({ length: 400 }, () => window()) };
    expectRefused(await post(large), 429, 'resource_exhausted', /65536/);
    const bytes = new Uint8Array(100_000);
    const binary = await post(bytes, anyKey, { 'content-type': 'application/proto' });
    expectRefused(binary, 429, 'resource_exhausted', /65536/);
  });

  it('that is cut off is refused', async () => {
    const whole = JSON.stringify({ metrics: [window()] });
    expectRefused(await post(whole.slice(0, -5)), 400, 'invalid_argument', /JSON/);
    // Field 1, a message of 100 bytes, of which only two are there.
    const cut = new Uint8Array([0x0a, 100, 0x0a, 0x01]);
    const binary = await post(cut, anyKey, { 'content-type': 'application/proto' });
    expect(binary.body).toMatchObject({ code: 'invalid_argument' });
  });

  it('with a window that is cut off loses that one only', async () => {
    // Field 1, a message of two bytes: its field 1 says it is 5 bytes long.
    const cut = new Uint8Array([0x0a, 2, 0x0a, 5]);
    const binary = { 'content-type': 'application/proto' };
    expectRefused(await post(cut, anyKey, binary), 400, 'invalid_argument', /^metrics\[0\]: it is not a billing/);
  });

  it('of totals needs the boot that each counts from', async () => {
    const request = { metrics: [window()], counterTemporality: 'COUNTER_TEMPORALITY_CUMULATIVE' };
    expectRefused(await post(request), 400, 'invalid_argument', /^metrics\[0\]\.boot_id is empty/);
  });

  it('of counters that nobody knows how to count is refused as a whole', async () => {
    const request = { metrics: [window()], counterTemporality: 3 };
    expectRefused(await post(request), 400, 'invalid_argument', /counter_temporality: 3 is not known/);
  });

  it('without a key, or with a wrong one, is refused', async () => {
    const url = `${meterd.url}/billing.v1.${SEND}`;
    const bare = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' });
    expectRefused(await answerOf(bare), 401, 'unauthenticated', /Authorization/);
    expectRefused(
      await post({ metrics: [window()] }, 'nonsense'),
      401,
      'unauthenticated',
      /Bearer meterd_<id>_<secret>/,
    );
    const wrong = `${anyKey.slice(0, -1)}${anyKey.endsWith('0') ? '1' : '0'}`;
    expectRefused(await post({ metrics: [window()] }, wrong), 401, 'unauthenticated', /has another secret/);
  });

  it('of an unknown method is not found', async () => {
    const response = await fetch(`${meterd.url}/billing.v1.BillingCollectorService/Nonsense`, { method: 'POST' });
    expect(response.status).toBe(404);
  });
});

describe('what is no fault', () => {
  it('fields that this version does not know', async () => {
    const { body } = await post({ metrics: [window({ gpuTimeNanos: '5' })], hostKernel: '9.1' });
    expect(body).toMatchObject({ accepted: 1, refused: 0 });
  });

  it('the same window in two regions is a conflict of which the first stays', async () => {
    const first = window();
    expect((await post({ metrics: [first] })).body).toMatchObject({ accepted: 1 });
    const { status, body } = await post({ metrics: [{ ...first, region: 'eu-west1' }] });
    expect(status).toBe(200);
    expect(body).toMatchObject({ accepted: 0, conflicting: 1, problems: [{ index: 0, code: 'already_exists' }] });
  });
});
