import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import * as http2 from 'node:http2';
import { connect, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type { Random } from '../../bench/generator/random.ts';
import { PacketLoss } from '../packet-loss.ts';
import { checkStored, gaugeOf } from '../check-stored.ts';
import { SendClient } from '../client.ts';
import { Fleet } from '../fleet.ts';
import { Load } from '../load.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';
import { SendLog } from '../send-log.ts';
import { Totals } from '../totals.ts';
import { CUT, unless } from '../unless.ts';

const WINDOWS_PER_BATCH = 20;
const LANES = 6;
const PATH = '/billing.v1.BillingCollectorService/SendMetricsBatch';
/** 64 kbit/s, in pieces of a fifth of a second. */
const SLOW_PIECE_BYTES = 1600;
const SLOW_PIECE_MS = 200;
const ANSWER_MS_MAX = 5000;
const LEAK_WAIT_MS = 15_000;
/** A connection whose end got lost on the way looks idle to meterd, and is closed after this time. */
const IDLE_SECONDS = 8;
const TRIES_MAX = 5;
/** As /proc/net/tcp has it. */
const ESTABLISHED = '01';

/** Sends a batch in a way that a network may spoil. */
type Spoiler = (target: Target, body: Buffer, random: Random) => Promise<void>;

interface Target {
  readonly url: string;
  readonly key: string;
}

const SPOILERS: readonly Spoiler[] = [
  resetInRequest,
  resetBeforeAnswer,
  resetInAnswer,
  halfClose,
  trickle,
  goAway,
  resetStream,
];

export const network: Row = {
  name: 'network',
  promise:
    'Connections that lose 5 % of their packets, are reset at any stage, half closed, or as slow as 64 kbit/s, and GOAWAY in a call, lose no acknowledged window and leave no call open.',
  trials: { full: 5000, quick: 200 },
  tools: ['nft'],
  async run({ trials, seed, random, site: newSite, note, onClose }: Context): Promise<Finding> {
    const site = await newSite();
    const meterd = await site.start({ METERD_IDLE_SECONDS_MAX: String(IDLE_SECONDS) });
    const target = { url: meterd.url, key: await site.collectorKey(meterd) };
    const fleet = new Fleet({ name: 'network', seed, windowsPerBatch: WINDOWS_PER_BATCH });
    const log = new SendLog();
    const load = new Load({ fleet, log, random, lanes: LANES, resendPermille: 0 });
    const client = new SendClient(meterd.url, target.key, LANES);
    const counts = { tried: 0, notAcknowledged: 0 };
    const loss = new PacketLoss(Number(new URL(meterd.url).port));
    onClose(async () => loss.end());
    loss.begin();
    const lane = async (): Promise<void> => {
      while (counts.tried < trials) {
        const spoil = SPOILERS[counts.tried++ % SPOILERS.length];
        const batch = log.takeNew();
        await spoil?.(target, fleet.request(batch), random);
        // Nobody knows what became of it: a host sends it again.
        if (!(await isAcknowledged(load, client, batch))) counts.notAcknowledged++;
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    client.close();
    const droppedPackets = loss.end();
    const leaked = await leftOpen(meterd.url);
    note(`${leaked.calls} calls and ${leaked.connections} connections left`);
    const totals = new Totals();
    totals.add(await checkStored(meterd, site.clickhouse(), { fleet, log }));
    totals.wrong.push(...load.wrong);
    const limits = {
      tried: { atLeast: trials },
      notAcknowledged: NONE,
      droppedPackets: { atLeast: 1 },
      leakedCalls: NONE,
      leakedConnections: NONE,
    };
    return totals.finding(
      { ...counts, droppedPackets, leakedCalls: leaked.calls, leakedConnections: leaked.connections },
      limits,
    );
  },
};

async function isAcknowledged(load: Load, client: SendClient, batch: number): Promise<boolean> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    if ((await load.send(client, batch)).kind === 'acknowledged') return true;
  }
  return false;
}

/** Calls, and connections whose other end is gone, that are still open once everything has had its time. */
async function leftOpen(url: string): Promise<{ calls: number; connections: number }> {
  const untilMs = performance.now() + LEAK_WAIT_MS;
  for (;;) {
    const calls = await gaugeOf(url, 'meterd_calls_open');
    const connections = halfConnections(Number(new URL(url).port));
    if ((calls === 0 && connections === 0) || performance.now() > untilMs) return { calls, connections };
    await wait(100);
  }
}

/** Connections to a port of this machine that the kernel knows on the server's side alone. */
function halfConnections(port: number): number {
  const rows = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .slice(1)
    .map((row) => row.trim().split(/\s+/));
  const ends = rows
    .filter(([, , , state]) => state === ESTABLISHED)
    .map(([, local = '', remote = '']) => [local, remote]);
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0');
  const known = new Set(ends.map(([local, remote]) => `${local} ${remote}`));
  const servers = ends.filter(([local]) => local?.endsWith(`:${hexPort}`));
  return servers.filter(([local, remote]) => !known.has(`${remote} ${local}`)).length;
}

async function opened({ url }: Target): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

function requestOf({ key }: Target, body: Buffer): Buffer {
  const head = `POST ${PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/proto\r\nAuthorization: Bearer ${key}\r\nContent-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

/** In its headers or its body. */
async function resetInRequest(target: Target, body: Buffer, random: Random): Promise<void> {
  const [socket, request] = [await opened(target), requestOf(target, body)];
  socket.write(request.subarray(0, random.below(request.length)));
  await wait(random.below(5));
  socket.resetAndDestroy();
}

async function resetBeforeAnswer(target: Target, body: Buffer, random: Random): Promise<void> {
  const socket = await opened(target);
  socket.write(requestOf(target, body));
  await wait(random.below(20));
  socket.resetAndDestroy();
}

async function resetInAnswer(target: Target, body: Buffer): Promise<void> {
  const socket = await opened(target);
  socket.write(requestOf(target, body));
  await Promise.race([unless(CUT, once(socket, 'data')), wait(ANSWER_MS_MAX)]);
  socket.resetAndDestroy();
}

/** Says that nothing more comes, and still wants the answer. */
async function halfClose(target: Target, body: Buffer): Promise<void> {
  const socket = await opened(target);
  socket.resume().end(requestOf(target, body));
  await Promise.race([new Promise((resolve) => socket.once('close', resolve)), wait(ANSWER_MS_MAX)]);
  socket.destroy();
}

async function trickle(target: Target, body: Buffer): Promise<void> {
  const [socket, request] = [await opened(target), requestOf(target, body)];
  for (let at = 0; at < request.length; at += SLOW_PIECE_BYTES) {
    socket.write(request.subarray(at, at + SLOW_PIECE_BYTES));
    await wait(SLOW_PIECE_MS);
  }
  await Promise.race([unless(CUT, once(socket, 'data')), wait(ANSWER_MS_MAX)]);
  socket.destroy();
}

function openCall({ url, key }: Target): { session: http2.ClientHttp2Session; stream: http2.ClientHttp2Stream } {
  const session = http2.connect(url);
  session.on('error', () => undefined);
  const headers = {
    ':method': 'POST',
    ':path': PATH,
    'content-type': 'application/proto',
    authorization: `Bearer ${key}`,
  };
  const stream = session.request(headers);
  stream.on('error', () => undefined).resume();
  return { session, stream };
}

async function goAway(target: Target, body: Buffer, random: Random): Promise<void> {
  const { session, stream } = openCall(target);
  stream.write(body.subarray(0, random.below(body.length)));
  await wait(random.below(5));
  if (!session.destroyed) session.goaway(http2.constants.NGHTTP2_INTERNAL_ERROR);
  await wait(random.below(5));
  session.destroy();
}

async function resetStream(target: Target, body: Buffer, random: Random): Promise<void> {
  const { session, stream } = openCall(target);
  stream.write(body);
  await wait(random.below(10));
  stream.close(http2.constants.NGHTTP2_CANCEL);
  await wait(random.below(5));
  session.destroy();
}
