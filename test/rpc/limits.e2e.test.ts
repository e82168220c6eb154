import { once } from 'node:events';
import * as http2 from 'node:http2';
import { connect, type Socket } from 'node:net';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterAll, describe, expect, it } from 'vitest';
import { SendMetricsBatchRequestSchema } from '../../gen/billing/v1/collector_pb.ts';
import { KeyRole } from '../../gen/billing/v1/keys_pb.ts';
import { StreamLiveUsageRequestSchema } from '../../gen/billing/v1/query_pb.ts';
import { keyFor, meterdForTest } from '../meterd.ts';

const SEND = '/billing.v1.BillingCollectorService/SendMetricsBatch';
const LIVE = '/billing.v1.BillingQueryService/StreamLiveUsage';
const BODY_BYTES_MAX = 256 * 1024;

const meterd = await meterdForTest({
  METERD_RECEIVE_SECONDS_MAX: '1',
  METERD_SEND_SECONDS_MAX: '1',
  METERD_IDLE_SECONDS_MAX: '2',
  METERD_BODY_KIB_MAX: String(BODY_BYTES_MAX / 1024),
  METERD_BODIES_MIB_MAX: '1',
  METERD_KEY_CALLS_AT_ONCE_MAX: '8',
  METERD_STREAMS_PER_CONNECTION_MAX: '20',
});
const limited = await meterdForTest({ METERD_KEY_CALLS_PER_SECOND_MAX: '5', METERD_KEY_KIB_PER_SECOND_MAX: '1' });
const port = Number(new URL(meterd.url).port);
const hostKey = await keyFor(meterd);
const operatorKey = await keyFor(meterd, { role: KeyRole.OPERATOR });

const sessions: http2.ClientHttp2Session[] = [];
afterAll(() => sessions.forEach((session) => session.destroy()));

function newSession(settings: http2.Settings = {}): http2.ClientHttp2Session {
  const session = http2.connect(meterd.url, { settings });
  session.on('error', () => undefined);
  sessions.push(session);
  return session;
}

function open(session: http2.ClientHttp2Session, path: string, headers: http2.OutgoingHttpHeaders = {}) {
  const fixed = { ':method': 'POST', ':path': path, 'content-type': 'application/proto' };
  const stream = session.request({ ...fixed, authorization: `Bearer ${hostKey}`, ...headers });
  stream.on('error', () => undefined);
  return stream;
}

interface Answer {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly retryAfter: string;
  readonly details: readonly { type: string; debug?: unknown }[];
}

async function answerOf(stream: http2.ClientHttp2Stream): Promise<Answer> {
  const [headers]: http2.IncomingHttpHeaders[] = await once(stream, 'response');
  let text = '';
  for await (const piece of stream.setEncoding('utf8')) text += String(piece);
  const { code = 'ok', message = '', details = [] } = JSON.parse(text === '' ? '{}' : text);
  return { status: Number(headers?.[':status']), code, message, retryAfter: String(headers?.['retry-after']), details };
}

/** Resolves with all that was said once the connection is closed. */
async function untilClosed(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (piece) => (text += piece.toString('latin1'))).on('error', () => undefined);
  await once(socket, 'close');
  return text;
}

const request = toBinary(SendMetricsBatchRequestSchema, create(SendMetricsBatchRequestSchema));

describe('a body', () => {
  it('that is too large is refused before it came, and while it comes', async () => {
    const declared = open(newSession(), SEND, { 'content-length': BODY_BYTES_MAX + 1 });
    expect(await answerOf(declared)).toMatchObject({
      status: 429,
      code: 'resource_exhausted',
      message: expect.stringMatching(/262144 bytes/),
    });
    const undeclared = open(newSession(), SEND);
    undeclared.write(Buffer.alloc(BODY_BYTES_MAX));
    undeclared.write(Buffer.alloc(BODY_BYTES_MAX));
    expect(await answerOf(undeclared)).toMatchObject({
      code: 'resource_exhausted',
      message: expect.stringMatching(/262144 bytes/),
    });
  });

  it('that comes too slowly is refused, over HTTP/2 and HTTP/1.1', async () => {
    const slow = open(newSession(), SEND);
    slow.write(Buffer.alloc(10));
    expect(await answerOf(slow)).toMatchObject({ status: 504, code: 'deadline_exceeded' });
    await once(slow, 'close');

    const socket = connect(port, '127.0.0.1');
    socket.write(
      `POST ${SEND} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${hostKey}\r\n` +
        'Content-Type: application/proto\r\nContent-Length: 100\r\n\r\nx',
    );
    expect(await untilClosed(socket)).toMatch(/^HTTP\/1.1 (408|504) /);
  });

  it('in too many small pieces is refused', async () => {
    const stream = open(newSession(), SEND);
    const answer = answerOf(stream);
    for (let piece = 0; piece < 3000 && !stream.destroyed; piece++) {
      stream.write(Buffer.alloc(1));
      await new Promise(setImmediate);
    }
    expect(await answer).toMatchObject({
      code: 'resource_exhausted',
      message: expect.stringMatching(/pieces for \d+ bytes/),
    });
  });

  it('finds no room where those of other calls hold it all', async () => {
    const answers = [];
    for (let count = 0; count < 6; count++) {
      const stream = open(newSession(), SEND);
      answers.push(answerOf(stream));
      // Sent, and so taken in but for the last 64 KiB, unless it was refused meanwhile.
      await new Promise((resolve) => stream.once('close', resolve).write(Buffer.alloc(BODY_BYTES_MAX), resolve));
    }
    expect(await answers.at(-1)).toMatchObject({
      code: 'resource_exhausted',
      message: expect.stringMatching(/bodies of all calls under way hold 1048576/),
      retryAfter: '1',
    });
    expect(await answers[0]).toMatchObject({ code: 'deadline_exceeded' });
    await Promise.all(answers);
  });

  it('that nobody reads leaves no stream open', async () => {
    const session = newSession();
    const refused = open(session, SEND, { authorization: 'Bearer none' });
    refused.write(Buffer.alloc(10));
    const closed = once(refused, 'close');
    expect(await answerOf(refused)).toMatchObject({ code: 'unauthenticated' });
    await closed;
  });
});

describe('calls at once', () => {
  it('of one key are bounded, and another key is served meanwhile', async () => {
    const session = newSession();
    const key = `Bearer ${await keyFor(meterd)}`;
    const streams = Array.from({ length: 9 }, () => open(session, SEND, { authorization: key }));
    const closed = streams.map((stream) => new Promise((resolve) => stream.once('close', resolve)));
    for (const stream of streams) stream.write(Buffer.alloc(1));
    const answers = streams.map(answerOf);
    const refused = {
      code: 'resource_exhausted',
      message: expect.stringMatching(/8 calls under way/),
      retryAfter: '1',
    };
    expect(await Promise.race(answers)).toMatchObject({ ...refused, details: [{ type: 'google.rpc.RetryInfo' }] });
    const other = open(session, SEND, { authorization: `Bearer ${operatorKey}` });
    expect(await answerOf(other)).toMatchObject({ code: 'permission_denied' });
    const late = (await Promise.all(answers)).filter(({ code }) => code === 'deadline_exceeded');
    expect(late).toHaveLength(8);
    await Promise.all(closed);
    const after = open(session, SEND, { authorization: key });
    after.end(request);
    expect(await answerOf(after)).toMatchObject({
      code: 'invalid_argument',
      message: expect.stringMatching(/metrics is empty/),
    });
  });
});

describe('a connection', () => {
  it('without a call is closed, whatever else it sends', async () => {
    const session = newSession();
    const closed = once(session, 'close');
    const pinging = setInterval(() => session.closed || session.destroyed || session.ping(() => undefined), 50);
    await closed;
    clearInterval(pinging);
  });

  it('whose headers come too slowly is closed', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.write('POST / HTTP/1.1\r\nHost: x\r\n');
    expect(await untilClosed(socket)).toMatch(/^HTTP\/1.1 408/);
    await untilClosed(connect(port, '127.0.0.1'));
  });

  it('with too large headers is refused', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.write(`GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(await untilClosed(socket)).toMatch(/^HTTP\/1.1 431/);
    const session = newSession();
    await once(session, 'remoteSettings');
    const large = session.request({ ':path': '/healthz', 'x-large': 'x'.repeat(20_000) });
    large.on('error', () => undefined).resume();
    await new Promise((resolve) => large.once('close', resolve));
    expect(large.rstCode).toBe(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
  });
});

describe('a reader', () => {
  it('of a live stream that takes in nothing is cut', async () => {
    const session = newSession({ initialWindowSize: 0 });
    const stream = open(session, LIVE, {
      'content-type': 'application/connect+proto',
      authorization: `Bearer ${operatorKey}`,
    });
    const message = toBinary(
      StreamLiveUsageRequestSchema,
      create(StreamLiveUsageRequestSchema, { customerId: 'acme' }),
    );
    stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]));
    await once(stream, 'close');
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
  });
});

describe('a rate', () => {
  it('that a key goes over is answered with when to come back, and no other key notices', async () => {
    const key = await keyFor(limited, { role: KeyRole.OPERATOR });
    const call = (body: string): Promise<Response> => {
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
      return fetch(`${limited.url}/billing.v1.CustomerService/ListCustomers`, { method: 'POST', headers, body });
    };
    const statuses = [];
    for (let count = 0; count < 20; count++) statuses.push((await call('{}')).status);
    expect(statuses.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 200));
    expect(statuses).toContain(429);
    const refused = await call('{}');
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(await refused.json()).toMatchObject({
      code: 'resource_exhausted',
      message: expect.stringMatching(/more than 5 calls a second/),
      details: [{ type: 'google.rpc.RetryInfo' }],
    });

    const other = await keyFor(limited, { role: KeyRole.OPERATOR });
    const large = await fetch(`${limited.url}/billing.v1.CustomerService/ListCustomers`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${other}` },
      body: `{}${' '.repeat(8000)}`,
    });
    expect(large.status).toBe(200);
    const indebted = await fetch(`${limited.url}/billing.v1.CustomerService/ListCustomers`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${other}` },
      body: '{}',
    });
    expect(indebted.status).toBe(429);
    expect(Number(indebted.headers.get('retry-after'))).toBeGreaterThan(4);
  });
});
