import { setTimeout as wait } from 'node:timers/promises';
import { startAttacked } from '../attacked.ts';
import { FLAG, FRAME, frame, headerBlock, RawHttp2 } from '../raw-http2.ts';
import { type Context, type Finding, type Row } from '../row.ts';

const SERVED_PERMYRIAD_MIN = 9990;
const CONNECTIONS = 4;
/** Frames that are written at once. */
const VOLLEY = 500;
/** A pause between volleys, for the rig and meterd share two cores. */
const PAUSE_MS = 2;
/** What the floods made grow is kept for the next ones: the last round of all of them may need little more than those before. */
const ROUNDS = 3;
const GROWN_MIB_MAX = 320;
const GROWN_AGAIN_MIB_MAX = 64;

/** Makes the frames of the nth volley of a connection. */
type Flood = (volley: number) => Buffer;

export const frames: Row = {
  name: 'frames',
  promise:
    'Floods of HTTP/2 frames leave meterd alive and others served, and floods that come again need no more memory. A trial is a second of each flood.',
  trials: { full: 60, quick: 5 },
  tools: [],
  async run({ trials, site: newSite, note }: Context): Promise<Finding> {
    const { meterd, collectorKey, watch, traffic } = await startAttacked(await newSite());
    let [floodFrames, floods] = [0, 0];
    const grownMib: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      for (const [name, flood] of floodsWith(collectorKey)) {
        const { frames: sent, cut } = await floodFor(meterd.url, flood, (trials * 1000) / ROUNDS);
        const { residentMibGrown } = await watch.harm();
        note(`${name}: ${sent} frames, ${cut} connections cut, ${residentMibGrown} MiB more than before all floods`);
        floodFrames += sent;
        floods++;
      }
      grownMib.push((await watch.harm()).residentMibGrown);
    }
    const served = await traffic.stop();
    const harm = await watch.worst();
    // The most of the rounds before: what the collector has not given back yet comes and goes by some 80 MiB.
    const [last = 0, before] = [grownMib.at(-1), Math.max(...grownMib.slice(0, -1))];
    const servedPermyriad = Math.floor(((served.goodCalls - served.goodFailed) * 10_000) / served.goodCalls);
    return {
      observed: { floods, floodFrames, ...served, servedPermyriad, ...harm, grownAgainMib: last - before },
      limit: {
        floods: { atLeast: 8 * ROUNDS },
        goodCalls: { atLeast: trials },
        servedPermyriad: { atLeast: SERVED_PERMYRIAD_MIN },
        residentMibGrown: { atMost: GROWN_MIB_MAX },
        grownAgainMib: { atMost: GROWN_AGAIN_MIB_MAX },
      },
      wrong: meterd.child.exitCode === null ? [] : ['meterd has ended'],
    };
  },
};

/** Keeps some connections busy with volleys; one that is cut is opened anew. */
async function floodFor(url: string, flood: Flood, durationMs: number): Promise<{ frames: number; cut: number }> {
  const untilMs = performance.now() + durationMs;
  let [sent, cut] = [0, 0];
  const lane = async (): Promise<void> => {
    while (performance.now() < untilMs) {
      const connection = await RawHttp2.connect(url);
      for (let volley = 0; !connection.isClosed && performance.now() < untilMs; volley++) {
        await connection.write(flood(volley));
        sent += VOLLEY;
        await wait(PAUSE_MS);
      }
      if (connection.isClosed) cut++;
      connection.close();
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, lane));
  return { frames: sent, cut };
}

function floodsWith(key: string): [string, Flood][] {
  const send = '/billing.v1.BillingCollectorService/SendMetricsBatch';
  const call = headerBlock({
    ':method': 'POST',
    ':scheme': 'http',
    ':authority': 'x',
    ':path': send,
    'content-type': 'application/proto',
    authorization: `Bearer ${key}`,
  });
  const open = (stream: number, flags: number = FLAG.endHeaders): Buffer => frame(FRAME.headers, flags, stream, call);
  const oneByte = frame(FRAME.data, 0, 1, Buffer.alloc(1));
  const large = headerBlock(Object.fromEntries(Array.from({ length: 60 }, (_, at) => [`x-${at}`, 'x'.repeat(120)])));
  /** The first entry of the dynamic table, which `indexed` below has made one of 4,000 bytes. */
  const reference = Buffer.alloc(4000, 0xbe);
  return [
    ['one-byte DATA', volleyOf((at, volley) => (at === 0 && volley === 0 ? open(1) : oneByte))],
    ['empty DATA', volleyOf((at, volley) => (at === 0 && volley === 0 ? open(1) : frame(FRAME.data, 0, 1)))],
    ['rapid reset', volleyOf((at, volley) => Buffer.concat([open(streamOf(at, volley)), reset(streamOf(at, volley))]))],
    ['calls without a body', volleyOf((at, volley) => open(streamOf(at, volley), FLAG.endHeaders | FLAG.endStream))],
    [
      'CONTINUATION',
      volleyOf((at, volley) => (at === 0 && volley === 0 ? open(1, 0) : frame(FRAME.continuation, 0, 1, large))),
    ],
    [
      'empty CONTINUATION',
      volleyOf((at, volley) => (at === 0 && volley === 0 ? open(1, 0) : frame(FRAME.continuation, 0, 1))),
    ],
    ['PING', volleyOf(() => frame(FRAME.ping, 0, 0, Buffer.alloc(8)))],
    ['SETTINGS', volleyOf(() => frame(FRAME.settings, 0, 0, Buffer.from([0, 4, 0, 0, 0xff, 0xff])))],
    ['WINDOW_UPDATE', volleyOf(() => frame(FRAME.windowUpdate, 0, 0, Buffer.from([0, 0, 0, 1])))],
    ['header bombs', volleyOf((at, volley) => bomb(streamOf(at, volley), at === 0 && volley === 0, reference))],
  ];
}

function volleyOf(make: (at: number, volley: number) => Buffer): Flood {
  return (volley) => Buffer.concat(Array.from({ length: VOLLEY }, (_, at) => make(at, volley)));
}

/** Client streams are odd and rise. */
function streamOf(at: number, volley: number): number {
  return 2 * (volley * VOLLEY + at) + 1;
}

function reset(stream: number): Buffer {
  return frame(FRAME.reset, 0, stream, Buffer.from([0, 0, 0, 8]));
}

/** A header of nearly the whole table, put into it once, then named 4,000 times by one byte each. */
function bomb(stream: number, isFirst: boolean, reference: Buffer): Buffer {
  const name = Buffer.from('x-bomb');
  const value = Buffer.alloc(3900, 0x78);
  // 127 and the rest of 3,900 in two bytes (RFC 7541, section 5.1).
  const length = Buffer.from([127, ((3900 - 127) & 0x7f) | 0x80, (3900 - 127) >> 7]);
  const indexed = Buffer.concat([Buffer.from([0x40, name.length]), name, length, value]);
  const block = isFirst ? Buffer.concat([indexed, reference]) : reference;
  return frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, stream, block);
}
