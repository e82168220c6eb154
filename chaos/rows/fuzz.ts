import { gzipSync } from 'node:zlib';
import { setTimeout as wait } from 'node:timers/promises';
import type { Random } from '../../bench/generator/random.ts';
import { clientOf } from '../../demo/clients.ts';
import type { MeterdProcess } from '../../demo/meterd-process.ts';
import { KeyRole, KeyService } from '../../gen/billing/v1/keys_pb.ts';
import { Fleet } from '../fleet.ts';
import { HarmWatch } from '../harm-watch.ts';
import { FLAG, FRAME, frame, headerBlock, RawHttp2 } from '../raw-http2.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';

const LANES = 6;
const HANG_MS = 1000;
const CALL_TIMEOUT_MS = 10_000;
/** How many of a thousand trials are connections of mutated frames. */
const FRAMES_PERMILLE = 20;
const MUTATIONS_MAX = 6;

interface Seed {
  readonly method: string;
  readonly contentType: string;
  readonly body: Buffer;
}

export const fuzz: Row = {
  name: 'fuzz',
  promise:
    'Mutated bodies and frames are answered within a second, with nobody’s fault but the caller’s. Segments are in the row corrupt.',
  trials: { full: 1_000_000, quick: 20_000 },
  tools: [],
  async run({ trials, random, seed, site: newSite }: Context): Promise<Finding> {
    const site = await newSite();
    const meterd = await site.start({ METERD_KEY_CALLS_PER_SECOND_MAX: '1000000' });
    const keys = clientOf(KeyService, meterd.url, meterd.adminKey);
    const operator = (await keys.createKey({ name: 'fuzz', role: KeyRole.OPERATOR })).secret;
    const collector = await site.collectorKey(meterd);
    const seeds = seedsOf(seed);
    const watch = await HarmWatch.start(meterd);
    const counts = { tried: 0, internal: 0, hangs: 0, slowestMs: 0 };
    const wrong: string[] = [];
    const lane = async (): Promise<void> => {
      while (counts.tried < trials && meterd.child.exitCode === null) {
        counts.tried++;
        const startedMs = performance.now();
        if (random.chance(FRAMES_PERMILLE)) await throwFrames(meterd, random, collector);
        else {
          const from = random.pick(seeds);
          const body = mutated(from.body, random);
          const key = from.method.startsWith('BillingCollector') ? collector : operator;
          const answer = await post(meterd, { ...from, body }, key);
          if (isOurs(answer)) {
            counts.internal++;
            wrong.push(
              `${from.method} ${from.contentType} ${body.toString('base64').slice(0, 300)}: ${answer.slice(0, 200)}`,
            );
          }
        }
        const tookMs = performance.now() - startedMs;
        counts.slowestMs = Math.max(counts.slowestMs, Math.round(tookMs));
        if (tookMs > HANG_MS) counts.hangs++;
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    const crashes = meterd.child.exitCode === null ? 0 : 1;
    const harm = crashes === 0 ? await watch.harm() : {};
    return {
      observed: { ...counts, crashes, ...harm },
      limit: { tried: { atLeast: trials }, internal: NONE, hangs: NONE, crashes: NONE },
      wrong: wrong.slice(0, 10),
    };
  },
};

function seedsOf(seed: number): Seed[] {
  const batch = new Fleet({ name: 'fuzz', seed, windowsPerBatch: 3 }).request(0);
  const send = 'BillingCollectorService/SendMetricsBatch';
  const window = { vmId: 'v', customerId: 'c', region: 'r', windowStart: '2026-11-01T00:00:00Z', cpuTimeNanos: '5' };
  const usage = {
    customerId: 'c',
    start: '2026-11-01T00:00:00Z',
    end: '2026-11-02T00:00:00Z',
    groupBy: ['USAGE_DIMENSION_VM'],
  };
  const rates = { cpuPerCoreHour: 0.1, memoryPerGbHour: 1e-7 };
  const plan = { planId: 'p', currency: 'USD', validFrom: '2026-01-01T00:00:00Z', rates };
  const json = (method: string, value: object): Seed => {
    return { method, contentType: 'application/json', body: Buffer.from(JSON.stringify(value)) };
  };
  const list = Buffer.from([0x08, 5, 0x12, 2, 0x78, 0x79]);
  return [
    { method: send, contentType: 'application/proto', body: batch },
    { method: send, contentType: 'application/grpc-web+proto', body: enveloped(batch, 0) },
    { method: send, contentType: 'application/grpc-web+proto;gzip', body: enveloped(gzipSync(batch), 1) },
    json(send, { metrics: [window, window] }),
    json('BillingCollectorService/SendMetrics', { metrics: window, sequence: '1' }),
    json('BillingQueryService/GetCustomerUsage', usage),
    json('PlanService/PublishPlan', plan),
    json('InvoiceService/ListInvoices', { customerId: 'c', pageSize: 3, pageToken: 'eA', period: '2026-09' }),
    { method: 'InvoiceService/ListInvoices', contentType: 'application/proto', body: list },
    { method: 'CustomerService/ListCustomers', contentType: 'application/proto', body: list },
  ];
}

function enveloped(message: Buffer, flags: number): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Bits flipped, bytes set to odd ones, spans cut, doubled or moved. */
function mutated(seed: Buffer, random: Random): Buffer {
  let body: Buffer = Buffer.from(seed);
  for (let count = random.between(1, MUTATIONS_MAX); count > 0 && body.length > 0; count--) {
    const at = random.below(body.length);
    const end = Math.min(body.length, at + random.between(1, 16));
    switch (random.below(6)) {
      case 0:
        body[at] = (body[at] ?? 0) ^ (1 << random.below(8));
        break;
      case 1:
        body[at] = random.pick([0, 0x7f, 0x80, 0xff, 0x22, 0x5b, 0x7b, 0x2d]);
        break;
      case 2:
        body = body.subarray(0, at);
        break;
      case 3:
        body = Buffer.concat([body.subarray(0, at), body.subarray(end)]);
        break;
      case 4:
        body = Buffer.concat([body.subarray(0, end), body.subarray(at)]);
        break;
      default:
        body = Buffer.concat([body.subarray(at, end), body]);
    }
  }
  return body;
}

async function post({ url }: MeterdProcess, { method, contentType, body }: Seed, key: string): Promise<string> {
  const [type = '', encoding] = contentType.split(';');
  try {
    const response = await fetch(`${url}/billing.v1.${method}`, {
      method: 'POST',
      headers: {
        'content-type': type,
        authorization: `Bearer ${key}`,
        ...(encoding === undefined ? {} : { 'grpc-encoding': encoding }),
      },
      body: new Uint8Array(body),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
    return `${response.status} ${await response.text()}`;
  } catch (reason) {
    return `no answer: ${String(reason)}`;
  }
}

/** Whether an answer says that meterd is at fault, or is none. */
function isOurs(answer: string): boolean {
  return /^500 |^no answer|"code":"(internal|unknown|data_loss)"|grpc-status: ?(2|13|15)\b/.test(answer);
}

/** A call as frames, some of them mutated; what becomes of it is up to HTTP/2, but the connection has to end. */
async function throwFrames({ url }: MeterdProcess, random: Random, key: string): Promise<void> {
  const call = headerBlock({
    ':method': 'POST',
    ':scheme': 'http',
    ':authority': 'x',
    ':path': '/billing.v1.BillingCollectorService/SendMetricsBatch',
    'content-type': 'application/proto',
    authorization: `Bearer ${key}`,
  });
  const whole = Buffer.concat([
    frame(FRAME.headers, FLAG.endHeaders, 1, call),
    frame(FRAME.data, 0, 1, Buffer.alloc(100)),
    frame(FRAME.windowUpdate, 0, 1, Buffer.from([0, 0, 1, 0])),
    frame(FRAME.data, FLAG.endStream, 1, Buffer.alloc(50)),
    frame(FRAME.ping, 0, 0, Buffer.alloc(8)),
  ]);
  const connection = await RawHttp2.connect(url);
  await connection.write(mutated(whole, random));
  await wait(random.between(0, 5));
  connection.close();
}
