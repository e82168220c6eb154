import { once } from 'node:events';
import * as http2 from 'node:http2';
import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { clientOf } from '../../demo/clients.ts';
import { KeyRole, KeyService } from '../../gen/billing/v1/keys_pb.ts';
import { StreamLiveUsageRequestSchema } from '../../gen/billing/v1/query_pb.ts';
import { startAttacked } from '../attacked.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';

const CLOSED_MS_MAX = 15_000;
/** Whatever is attacked, and for each stream and connection that is open at once. */
const GROWN_MIB_MAX = 64;
const GROWN_KIB_EACH_MAX = 16;
const STREAMS_PER_SESSION = 200;
/** So that no limit of one key closes them before their time. */
const BODIES_PER_KEY = 2000;
/** Behind which what is still open counts as never closed. */
const GIVE_UP_MS = 30_000;
const DRIP_MS = 1000;

export const slow: Row = {
  name: 'slow',
  promise:
    'Bodies that drip, readers that take nothing and connections without a call are closed within 15 s. A trial is a slow body; a tenth as many readers and connections.',
  trials: { full: 10_000, quick: 1000 },
  tools: [],
  async run({ trials, site: newSite }: Context): Promise<Finding> {
    const { meterd, watch, traffic } = await startAttacked(await newSite());
    const keys = clientOf(KeyService, meterd.url, meterd.adminKey);
    const reader = await keys.createKey({ name: 'reader', role: KeyRole.OPERATOR });
    const senders = await Promise.all(
      Array.from({ length: Math.ceil(trials / BODIES_PER_KEY) }, (_, at) => {
        return keys.createKey({ name: `sender ${at}`, role: KeyRole.COLLECTOR, regions: ['*'] });
      }),
    );
    const tenth = Math.max(1, Math.floor(trials / 10));
    const attack = new Attack(meterd.url);
    await Promise.all([
      ...senders.map(({ secret }, at) => attack.bodies(secret, Math.min(BODIES_PER_KEY, trials - at * BODIES_PER_KEY))),
      attack.readers(reader.secret, tenth),
      attack.idle(tenth),
    ]);
    const { opened, closedMsMax, neverClosed } = await attack.over();
    const { goodCalls, goodFailed } = await traffic.stop();
    return {
      observed: { opened, closedMsMax, neverClosed, goodCalls, goodFailed, ...(await watch.harm()) },
      limit: {
        opened: { atLeast: trials + 2 * tenth },
        closedMsMax: { atMost: CLOSED_MS_MAX },
        neverClosed: NONE,
        goodFailed: NONE,
        residentMibGrown: { atMost: GROWN_MIB_MAX + Math.floor((opened * GROWN_KIB_EACH_MAX) / 1024) },
      },
      wrong: [],
    };
  },
};

/** Everything that is opened and waits to be closed by the other side. */
class Attack {
  readonly #url: string;
  readonly #waiting: Promise<number>[] = [];
  readonly #sessions: http2.ClientHttp2Session[] = [];

  constructor(url: string) {
    this.#url = url;
  }

  /** Each sends a byte a second of a body that never ends. */
  async bodies(key: string, count: number): Promise<void> {
    await this.#streams(count, {}, (session) => {
      const path = '/billing.v1.BillingCollectorService/SendMetricsBatch';
      const stream = openStream(session, path, 'application/proto', key);
      const drip = setInterval(() => stream.writable && stream.write(Buffer.alloc(1)), DRIP_MS);
      stream.once('close', () => clearInterval(drip));
      return stream.resume();
    });
  }

  /** Each opens no window for an answer, so that none can be sent. */
  async readers(key: string, count: number): Promise<void> {
    const asked = toBinary(StreamLiveUsageRequestSchema, create(StreamLiveUsageRequestSchema, { customerId: 'acme' }));
    const body = Buffer.concat([Buffer.from([0, 0, 0, 0, asked.length]), asked]);
    await this.#streams(count, { initialWindowSize: 0 }, (session) => {
      const path = '/billing.v1.BillingQueryService/StreamLiveUsage';
      return openStream(session, path, 'application/connect+proto', key).end(body);
    });
  }

  /** Half of them say nothing, the other half that they speak HTTP/2. */
  async idle(count: number): Promise<void> {
    const { hostname, port } = new URL(this.#url);
    for (let at = 0; at < count; at++) {
      const socket = connect(Number(port), hostname);
      socket.on('error', () => undefined).resume();
      if (at % 2 === 1) socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0');
      this.#await(new Promise((resolve) => socket.once('close', resolve)));
      await once(socket, 'connect');
    }
  }

  async over(): Promise<{ opened: number; closedMsMax: number; neverClosed: number }> {
    const times = await Promise.all(this.#waiting);
    for (const session of this.#sessions) session.destroy();
    const closed = times.filter((timeMs) => timeMs < GIVE_UP_MS);
    return {
      opened: times.length,
      closedMsMax: Math.round(Math.max(0, ...closed)),
      neverClosed: times.length - closed.length,
    };
  }

  async #streams(
    count: number,
    settings: http2.Settings,
    open: (session: http2.ClientHttp2Session) => http2.ClientHttp2Stream,
  ): Promise<void> {
    for (let opened = 0; opened < count;) {
      const session = http2.connect(this.#url, { settings });
      session.on('error', () => undefined);
      this.#sessions.push(session);
      await once(session, 'remoteSettings');
      for (let stream = 0; stream < STREAMS_PER_SESSION && opened < count; stream++, opened++) {
        const each = open(session);
        each.on('error', () => undefined);
        this.#await(new Promise((resolve) => each.once('close', resolve)));
      }
    }
  }

  #await(closed: Promise<unknown>): void {
    const startedMs = performance.now();
    this.#waiting.push(
      Promise.race([closed, wait(GIVE_UP_MS, undefined, { ref: false })]).then(() => performance.now() - startedMs),
    );
  }
}

function openStream(
  session: http2.ClientHttp2Session,
  path: string,
  contentType: string,
  key: string,
): http2.ClientHttp2Stream {
  const call = { ':method': 'POST', ':path': path, 'content-type': contentType, authorization: `Bearer ${key}` };
  return session.request(call);
}
