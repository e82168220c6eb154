import { brotliCompressSync, gzipSync } from 'node:zlib';
import type { MeterdProcess } from '../../demo/meterd-process.ts';
import { startAttacked } from '../attacked.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';

const MIB = 1024 * 1024;
const BODY_BYTES = 1_000_000;
const INFLATED_BYTES = 400 * MIB;
const GROWN_MIB_MAX = 128;
const BLOCKED_MS_MAX = 100;
/** Answers that say whose fault it is. `internal` and `unknown` would say that it is ours. */
const REFUSED = ['invalid_argument', 'resource_exhausted', 'unimplemented', 'out_of_range', 'permission_denied'];

interface Bomb {
  readonly name: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export const bombs: Row = {
  name: 'bombs',
  promise: 'Bodies made to grow when they are read are refused, with little memory and no long stop of the event loop.',
  trials: { full: 16, quick: 2 },
  tools: [],
  async run({ trials, site: newSite, note }: Context): Promise<Finding> {
    const all = everyBomb();
    const site = await newSite();
    const { meterd, collectorKey, watch, traffic } = await startAttacked(site, (target, key) => {
      return throwAll(all.slice(0, 1), target, key);
    });
    const wrong: string[] = [];
    let [thrown, refused] = [0, 0];
    for (const bomb of all) {
      const each = Array.from({ length: trials }, () => bomb);
      const answers = await throwAll(each, meterd, collectorKey);
      const harm = await watch.harm();
      note(`${bomb.name}: ${[...new Set(answers)].join(', ')}; ${JSON.stringify(harm)}`);
      for (const answer of answers) {
        thrown++;
        if (REFUSED.includes(answer)) refused++;
        else wrong.push(`${bomb.name} was answered ${answer}`);
      }
    }
    const { goodFailed } = await traffic.stop();
    return {
      observed: { thrown, notRefused: thrown - refused, goodFailed, ...(await watch.worst()) },
      limit: {
        thrown: { atLeast: all.length * trials },
        notRefused: NONE,
        goodFailed: NONE,
        residentMibGrown: { atMost: GROWN_MIB_MAX },
        loopBlockedMsLessWaits: { atMost: BLOCKED_MS_MAX },
      },
      wrong,
    };
  },
};

function everyBomb(): Bomb[] {
  const batch = 'BillingCollectorService/SendMetricsBatch';
  const plan = 'PlanService/PublishPlan';
  const json = { 'content-type': 'application/json' };
  const proto = { 'content-type': 'application/proto' };
  const grpc = { 'content-type': 'application/grpc-web+proto' };
  const spaces = Buffer.alloc(INFLATED_BYTES, 0x20);
  const [gzipped, brotli] = [gzipSync(spaces), brotliCompressSync(spaces.subarray(0, 64 * MIB))];
  const repeated = (...bytes: number[]): Buffer => Buffer.alloc(BODY_BYTES, Buffer.from(bytes));
  const found: [string, string, Readonly<Record<string, string>>, Buffer][] = [
    ['gzip of JSON', batch, { ...json, 'content-encoding': 'gzip' }, gzipped],
    ['gzip of protobuf', plan, { ...proto, 'content-encoding': 'gzip' }, gzipped],
    ['brotli of JSON', plan, { ...json, 'content-encoding': 'br' }, brotli],
    ['gzip in an envelope', batch, { ...grpc, 'grpc-encoding': 'gzip' }, envelope(gzipped, 1)],
    ['a thousand gzips in envelopes', batch, { ...grpc, 'grpc-encoding': 'gzip' }, manyEnvelopes()],
    ['empty windows', batch, proto, repeated(0x0a, 0)],
    ['empty windows in gzip', batch, { ...proto, 'content-encoding': 'gzip' }, gzipSync(repeated(0x0a, 0))],
    // Field 5 of PublishPlanRequest and of its charges: lists of messages.
    ['empty fields of a plan', plan, proto, repeated(0x2a, 0)],
    ['unknown fields of a batch', batch, proto, repeated(0xf8, 0x7f, 0)],
    ['unknown fields of a window', batch, proto, nested(repeated(0xf8, 0x7f, 0))],
    ['unknown fields of a plan', plan, proto, repeated(0xf8, 0x7f, 0)],
    ['groups in groups', plan, proto, repeated(0xfb, 0x7f)],
    ['empty windows in JSON', batch, json, Buffer.from(`{"metrics":[${'{},'.repeat(300_000)}{}]}`)],
    ['deep JSON', batch, json, Buffer.from(`{"metrics":${'['.repeat(500_000)}`)],
    [
      'many fields in JSON',
      plan,
      json,
      Buffer.from(`{${Array.from({ length: 90_000 }, (_, at) => `"f${at}":0`).join()}}`),
    ],
    ['a forged length', batch, grpc, envelope(Buffer.alloc(100), 0, 0xffff_ffff)],
    ['a forged field', batch, proto, Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1])],
  ];
  return found.map(([name, method, headers, body]) => ({ name, method, headers, body }));
}

function envelope(message: Buffer, flags: number, length = message.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

function manyEnvelopes(): Buffer {
  const each = envelope(gzipSync(Buffer.alloc(BODY_BYTES)), 1);
  return Buffer.concat(Array.from({ length: Math.floor(BODY_BYTES / each.length) }, () => each));
}

/** As the one window of a batch. */
function nested(window: Buffer): Buffer {
  const head = Buffer.from([0x0a, 0, 0, 0]);
  for (let at = 1; at <= 3; at++) head[at] = ((window.length >> (7 * (at - 1))) & 0x7f) | (at < 3 ? 0x80 : 0);
  return Buffer.concat([head, window]);
}

/** @returns the code of each answer, `ok` where it was taken */
async function throwAll(
  each: readonly Bomb[],
  { url, adminKey }: MeterdProcess,
  collectorKey: string,
): Promise<string[]> {
  const answers = each.map(async ({ method, headers, body }) => {
    const key = method.startsWith('BillingCollector') ? collectorKey : adminKey;
    try {
      const response = await fetch(`${url}/billing.v1.${method}`, {
        method: 'POST',
        headers: { ...headers, authorization: `Bearer ${key}` },
        body: new Uint8Array(body),
      });
      return await codeOf(response);
    } catch (reason) {
      return `nothing (${String(reason)})`;
    }
  });
  return Promise.all(answers);
}

/** gRPC's codes, by number. */
const GRPC_CODES: Readonly<Record<string, string>> = {
  3: 'invalid_argument',
  8: 'resource_exhausted',
  12: 'unimplemented',
  11: 'out_of_range',
  13: 'internal',
  2: 'unknown',
};

async function codeOf(response: Response): Promise<string> {
  const text = await response.text();
  const [, grpcStatus] = /grpc-status: ?(\d+)/.exec(text) ?? [];
  if (grpcStatus !== undefined) return grpcStatus === '0' ? 'ok' : (GRPC_CODES[grpcStatus] ?? `grpc ${grpcStatus}`);
  if (response.status === 200) return 'ok';
  const body: { code?: string } = text.startsWith('{') ? JSON.parse(text) : {};
  return body.code ?? `HTTP ${response.status}`;
}
