import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ClickHouseClient } from '@clickhouse/client';
import { clientOf } from '../demo/clients.ts';
import { type MeterdProcess, startMeterd, stopMeterd } from '../demo/meterd-process.ts';
import { KeyRole, KeyService } from '../gen/billing/v1/keys_pb.ts';
import { ADMIN_KEY_FILE } from '../src/access/first-key.ts';
import { connectClickHouse } from '../src/storage/clickhouse/client.ts';
import { migrateClickHouse } from '../src/storage/clickhouse/migrate.ts';
import { type Engines, startEngines } from '../src/storage/engines.ts';
import { childrenWith } from './process-usage.ts';

/** What meterd can do is measured, not what one key may ask of it. */
const NO_RATES = {
  METERD_PUBLIC_CALLS_PER_SECOND_MAX: '1000000',
  METERD_KEY_CALLS_PER_SECOND_MAX: '1000000',
  METERD_KEY_KIB_PER_SECOND_MAX: '16777216',
};

/** Beside the checkout's own files, so that figures are those of its disk. Not in git. */
const RESULTS_FOLDER = fileURLToPath(new URL('../bench-results/', import.meta.url));
const REQUEST_TIMEOUT_MS = 600_000;
const DRAIN_TIMEOUT_MS = 600_000;
const POLL_MS = 50;
const METERD_DATABASE = 'meterd';
const METERD_FOLDER = 'meterd';

/** For cases in which no job may run but what is measured: schedules that come once in four years. */
export const NO_JOBS = { METERD_ROLLUP_SCHEDULE: '0 0 29 2 *', METERD_INVOICE_SCHEDULE: '0 0 29 2 *' };

/** A meterd of the bench's own. */
export interface BenchMeterd extends MeterdProcess {
  readonly pid: number;
  /** Of a host that may report everything. */
  readonly collectorKey: string;
}

/** What still runs, for the case that the bench is interrupted. */
const openWorlds = new Set<World>();

/** Stops and removes everything. */
export async function closeWorlds(): Promise<void> {
  await Promise.all([...openWorlds].map((world) => world.close()));
}

/** Both engines and what else a case starts, in a folder that is removed at the end. */
export class World {
  readonly folder: string;
  readonly #engines: Engines;
  readonly #clients: ClickHouseClient[] = [];
  readonly #meterds: BenchMeterd[] = [];
  readonly #closers: (() => Promise<void>)[] = [];
  readonly clickhousePid: number;
  #isStanding = false;
  #closed: Promise<void> | undefined;

  private constructor(folder: string, engines: Engines, clickhousePid: number) {
    this.folder = folder;
    this.#engines = engines;
    this.clickhousePid = clickhousePid;
  }

  /** @param clickhouseConfig XML that is laid over the embedded ClickHouse's own configuration */
  static async open(clickhouseConfig?: string): Promise<World> {
    await mkdir(RESULTS_FOLDER, { recursive: true });
    const folder = await mkdtemp(join(RESULTS_FOLDER, 'run-'));
    if (clickhouseConfig !== undefined) await overlayConfig(folder, clickhouseConfig);
    // Tables are dropped while they are merged: ClickHouse calls that an error each time.
    const onLog = (engine: string, line: string): void => {
      if (/\b(FATAL|PANIC|Fatal)\b/.test(line)) process.stderr.write(`${engine}: ${line}\n`);
    };
    const engines = await startEngines({ dataDir: folder, clickhouseUrl: undefined, databaseUrl: undefined, onLog });
    const [clickhousePid] = childrenWith(process.pid, 'clickhouse-child').filter(isOf(folder));
    if (clickhousePid === undefined) throw new Error('the process of the embedded ClickHouse is not to be found');
    const world = new World(folder, engines, clickhousePid);
    openWorlds.add(world);
    return world;
  }

  /** A client of one of this ClickHouse's databases, made with meterd's tables where it is missing. */
  async clickhouse(database: string): Promise<ClickHouseClient> {
    const url = this.#engines.clickhouseUrl;
    await migrateClickHouse({ url, database, withLock: (work) => work() });
    const client = connectClickHouse({ url, database, requestTimeoutMs: REQUEST_TIMEOUT_MS });
    this.#clients.push(client);
    return client;
  }

  /** The database that this world's meterd stores into. */
  meterdDatabase(): Promise<ClickHouseClient> {
    return this.clickhouse(METERD_DATABASE);
  }

  get databaseUrl(): string {
    return this.#engines.databaseUrl;
  }

  /** Starts meterd on these engines, with its spool in this world's folder. */
  async startMeterd(environment: Readonly<Record<string, string>> = {}): Promise<BenchMeterd> {
    const { pid, ...meterd } = await this.#start(METERD_FOLDER, environment);
    const keys = clientOf(KeyService, meterd.url, meterd.adminKey);
    const made = await keys.createKey({ name: 'bench', role: KeyRole.COLLECTOR, regions: ['*'], backfill: true });
    const started = { ...meterd, pid, collectorKey: made.secret };
    this.#meterds.push(started);
    return started;
  }

  /** Starts a meterd that only collects, with a spool of its own, beside one that was started before. */
  async startCollector(beside: BenchMeterd, environment: Readonly<Record<string, string>> = {}): Promise<BenchMeterd> {
    const folder = `collector-${this.#meterds.length}`;
    await mkdir(join(this.folder, folder));
    // The first of several on one PostgreSQL makes the admin key, and writes it into its own folder only.
    await copyFile(join(this.folder, METERD_FOLDER, ADMIN_KEY_FILE), join(this.folder, folder, ADMIN_KEY_FILE));
    const meterd = await this.#start(folder, { METERD_ROLES: 'collector', ...environment });
    const started = { ...meterd, collectorKey: beside.collectorKey };
    this.#meterds.push(started);
    return started;
  }

  /** Resolves once nothing that meterd acknowledged is still to be stored. @throws Error after ten minutes */
  async drained(meterd: BenchMeterd): Promise<void> {
    const untilMs = performance.now() + DRAIN_TIMEOUT_MS;
    while ((await unstoredBytes(meterd)) > 0) {
      if (performance.now() > untilMs) throw new Error(`not everything is stored after ${DRAIN_TIMEOUT_MS / 1000} s`);
      await wait(POLL_MS);
    }
  }

  /** Lets ClickHouse stand still while `work` runs, as a machine does that is out of reach. */
  async whileClickHouseStands<T>(work: () => Promise<T>): Promise<T> {
    this.#isStanding = true;
    process.kill(this.clickhousePid, 'SIGSTOP');
    try {
      return await work();
    } finally {
      this.#goOn();
    }
  }

  /** Called when this world ends, in whatever way. */
  onClose(closer: () => Promise<void>): void {
    this.#closers.push(closer);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #start(
    folder: string,
    environment: Readonly<Record<string, string>>,
  ): Promise<Omit<BenchMeterd, 'collectorKey'>> {
    const meterd = await startMeterd(join(this.folder, folder), {
      METERD_LISTEN: '127.0.0.1:0',
      ...NO_RATES,
      METERD_LOG_LEVEL: 'error',
      CLICKHOUSE_URL: `${this.#engines.clickhouseUrl}/${METERD_DATABASE}`,
      DATABASE_URL: this.#engines.databaseUrl,
      ...environment,
    });
    const { pid } = meterd.child;
    if (pid === undefined) throw new Error('meterd has no process');
    return { ...meterd, pid };
  }

  #goOn(): void {
    if (this.#isStanding) process.kill(this.clickhousePid, 'SIGCONT');
    this.#isStanding = false;
  }

  async #close(): Promise<void> {
    // meterd would wait for it when it stops.
    this.#goOn();
    await Promise.all(this.#closers.map((closer) => closer()));
    await Promise.all(this.#meterds.map((meterd) => stopMeterd(meterd)));
    await Promise.all(this.#clients.map((client) => client.close()));
    await this.#engines.stop();
    await rm(this.folder, { recursive: true, force: true });
    openWorlds.delete(this);
  }
}

/** ClickHouse reads what lies in `config.d` beside its configuration, after it. */
async function overlayConfig(folder: string, xml: string): Promise<void> {
  const overlays = join(folder, 'clickhouse', 'config.d');
  await mkdir(overlays, { recursive: true, mode: 0o700 });
  await writeFile(join(overlays, 'bench.xml'), xml, { mode: 0o600 });
}

async function unstoredBytes({ url }: BenchMeterd): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const [, bytes] = /^meterd_spool_unapplied_bytes(?:\{.*\})? (\S+)/m.exec(metrics) ?? [];
  if (bytes === undefined) throw new Error(`${url}/metrics does not tell meterd_spool_unapplied_bytes`);
  return Number(bytes);
}

/** Which of the ClickHouse processes has its data in this folder; several worlds may be open. */
function isOf(folder: string): (pid: number) => boolean {
  return (pid) => childrenWith(process.pid, folder).includes(pid);
}
