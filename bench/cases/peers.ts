/**
 * How many windows a second do other stores take on this machine?
 *
 * Each gets the same thirteen values of each window, in batches of 600, over HTTP on loopback: InfluxDB 1.x and
 * VictoriaMetrics in the line protocol, where they are installed; and the textbook pipeline into ClickHouse. Writes count
 * once they are answered.
 *
 * Not measured: what they promise. None of them deduplicates as meterd does (a second report replaces the first
 * silently, or stands beside it), and VictoriaMetrics and the textbook pipeline answer before anything is on disk. Nor
 * queries, nor what happens after the answer.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { codeOf } from '../../src/lib/failure.ts';
import { retry } from '../../src/lib/retry.ts';
import type { Bench, CaseResult, Figure } from '../case.ts';
import { freePort } from '../free-port.ts';
import { fleetSpec, Generator } from '../generator/generator.ts';
import { fillLines } from '../generator/line-template.ts';
import { textbookRate } from '../textbook.ts';
import type { World } from '../world.ts';

const FOR_MS = 20_000;
const FOR_MS_BRIEF = 8_000;
const LANES = 8;
const BODY_BYTES_MAX = 1024 * 1024;
const READY_TRIES_MAX = 300;
const READY_DELAY_MS = 100;
/** meterd is to store so many times what VictoriaMetrics takes. */
const TIMES_VICTORIA = 2.5;

/** A store that is started for the measurement. */
interface Peer {
  readonly name: string;
  readonly binary: string;
  /** Debian's name of it. */
  readonly package: string;
  args(folder: string, port: number): Promise<string[]>;
  /** Whether it is ready answers here. */
  readonly pingPath: string;
  /** Called once before the first write. */
  readonly preparePath: string | undefined;
  readonly writePath: string;
}

const PEERS: readonly Peer[] = [
  {
    name: 'influxdb',
    binary: 'influxd',
    package: 'influxdb',
    args: influxArgs,
    pingPath: '/ping',
    preparePath: '/query?q=CREATE+DATABASE+bench',
    writePath: '/write?db=bench&precision=ns',
  },
  {
    name: 'victoriametrics',
    binary: 'victoria-metrics',
    package: 'victoria-metrics',
    args: async (folder, port) => [
      `-storageDataPath=${folder}`,
      `-httpListenAddr=127.0.0.1:${port}`,
      '-retentionPeriod=12',
    ],
    pingPath: '/health',
    preparePath: undefined,
    writePath: '/write?precision=ns',
  },
];

export async function peers(bench: Bench): Promise<CaseResult> {
  const forMs = bench.options.isBrief ? FOR_MS_BRIEF : Math.min(FOR_MS, bench.options.seconds * 1000);
  const world = await bench.world();
  const found: { readonly name: string; readonly windowsPerSecond: number }[] = [];
  const remarks: string[] = [];
  for (const peer of PEERS) {
    if (!(await isInstalled(peer.binary))) {
      remarks.push(`${peer.name} is not installed: apt-get install ${peer.package}`);
      continue;
    }
    bench.note(`peers: ${peer.name} …`);
    found.push({ name: peer.name, windowsPerSecond: await peerRate(peer, world, forMs) });
  }
  bench.note('peers: the textbook pipeline …');
  const clickhouse = await world.clickhouse('textbook');
  found.push({
    name: 'textbook',
    windowsPerSecond: await textbookRate(clickhouse, fleetSpec({ nowMs: Date.now() }), forMs),
  });
  remarks.push(
    'none deduplicates as meterd does; VictoriaMetrics and textbook answer before anything is synced to disk',
  );
  const stored = Number(bench.results['ingest']?.json['storedWindowsPerSecond'] ?? Number.NaN);
  return {
    figures: [...found.map(figureOf), ...heldAgainst(stored, found)],
    json: Object.fromEntries(found.map(({ name, windowsPerSecond }) => [name, { windowsPerSecond }])),
    wrong: [],
    remarks,
  };
}

function figureOf({ name, windowsPerSecond }: { name: string; windowsPerSecond: number }): Figure {
  return { what: name, value: windowsPerSecond, unit: 'windows/s' };
}

/** meterd beside each peer, where the ingest case ran before. */
function heldAgainst(stored: number, found: readonly { name: string; windowsPerSecond: number }[]): Figure[] {
  if (Number.isNaN(stored)) return [];
  return found.map(({ name, windowsPerSecond }) => ({
    what: 'meterd, stored rate',
    value: stored,
    unit: 'windows/s',
    against: { what: name, value: windowsPerSecond },
    ...(name === 'victoriametrics' ? { target: { atLeast: windowsPerSecond * TIMES_VICTORIA } } : {}),
  }));
}

async function peerRate(peer: Peer, world: World, forMs: number): Promise<number> {
  const folder = join(world.folder, peer.name);
  await mkdir(folder);
  const port = await freePort();
  const child = spawn(peer.binary, await peer.args(folder, port), { stdio: 'ignore' });
  const exited = once(child, 'exit');
  world.onClose(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const agent = new Agent({ keepAlive: true, maxSockets: LANES });
  try {
    const ping = (): Promise<void> => send(agent, port, 'GET', peer.pingPath);
    await retry(ping, { attemptsMax: READY_TRIES_MAX, delayMs: READY_DELAY_MS, delayMsMax: READY_DELAY_MS });
    if (peer.preparePath !== undefined) await send(agent, port, 'POST', peer.preparePath);
    return await writeRate((body) => send(agent, port, 'POST', peer.writePath, body), forMs);
  } finally {
    agent.destroy();
    child.kill('SIGTERM');
    await exited;
  }
}

async function writeRate(write: (body: Buffer) => Promise<void>, forMs: number): Promise<number> {
  const generator = Generator.ofLines(fleetSpec({ nowMs: Date.now() }));
  generator.warm();
  let number = 0;
  let windows = 0;
  const startedMs = performance.now();
  const lane = async (): Promise<void> => {
    const buffer = Buffer.allocUnsafe(BODY_BYTES_MAX);
    while (performance.now() - startedMs < forMs) {
      const job = generator.job(number++);
      const template = generator.template(job);
      await write(fillLines(template, buffer, job));
      windows += template.windows;
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return windows / ((performance.now() - startedMs) / 1000);
}

/** @throws Error where the answer is no success */
function send(agent: Agent, port: number, method: string, path: string, body?: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request({ agent, host: '127.0.0.1', port, method, path }, (response) => {
      const { statusCode = 0 } = response;
      response.on('error', reject).resume();
      response.on('end', () => {
        if (statusCode < 300) resolve();
        else reject(new Error(`${path} was answered ${statusCode}`));
      });
    });
    call.on('error', reject).end(body);
  });
}

/** InfluxDB as it comes, but for its folders, its ports and what it would report about itself. */
async function influxArgs(folder: string, port: number): Promise<string[]> {
  const config = `reporting-disabled = true
bind-address = "127.0.0.1:${await freePort()}"
[meta]
  dir = "${folder}/meta"
[data]
  dir = "${folder}/data"
  wal-dir = "${folder}/wal"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:${port}"
  log-enabled = false
`;
  const file = join(folder, 'influxdb.conf');
  await writeFile(file, config);
  return ['-config', file];
}

async function isInstalled(binary: string): Promise<boolean> {
  try {
    await promisify(execFile)('sh', ['-c', `command -v ${binary}`]);
    return true;
  } catch (error) {
    // The shell ends with 127 where there is no such command.
    if (codeOf(error) === 127 || codeOf(error) === 1) return false;
    throw error;
  }
}
