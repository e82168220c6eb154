import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ClickHouseClient } from '@clickhouse/client';
import { Client } from 'pg';
import { childrenWith } from '../bench/process-usage.ts';
import { clientOf } from '../demo/clients.ts';
import { type MeterdProcess, startMeterd, stopMeterd } from '../demo/meterd-process.ts';
import { ADMIN_KEY_FILE } from '../src/access/first-key.ts';
import { KeyRole, KeyService } from '../gen/billing/v1/keys_pb.ts';
import { connectClickHouse } from '../src/storage/clickhouse/client.ts';
import { startClickHouse } from '../src/storage/embedded/clickhouse.ts';
import type { EmbeddedEngine } from '../src/storage/embedded/engine-process.ts';
import { startPostgres } from '../src/storage/embedded/postgres.ts';

/** Beside the checkout's own files, so that faults meet its disk. Not in git. */
const RESULTS_FOLDER = fileURLToPath(new URL('../bench-results/', import.meta.url));
const REQUEST_TIMEOUT_MS = 120_000;

/** Schedules that come once in four years, for rows in which no job may run but those that they ask for. */
export const NO_JOBS = { METERD_ROLLUP_SCHEDULE: '0 0 29 2 *', METERD_INVOICE_SCHEDULE: '0 0 29 2 *' };

/** A folder on the checkout's disk. */
export async function newFolder(): Promise<string> {
  await mkdir(RESULTS_FOLDER, { recursive: true });
  return mkdtemp(join(RESULTS_FOLDER, 'chaos-'));
}

/** Both embedded engines, in a folder that is removed when they close. Nobody starts them again but the row that stopped them. */
export class EnginePair {
  readonly folder: string;
  readonly clickhouseUrl: string;
  readonly databaseUrl: string;
  #clickhouse: EmbeddedEngine;
  #postgres: EmbeddedEngine;

  readonly #undo: (() => Promise<void>) | undefined;

  private constructor(parts: {
    folder: string;
    clickhouse: EmbeddedEngine;
    postgres: EmbeddedEngine;
    undo: (() => Promise<void>) | undefined;
  }) {
    this.folder = parts.folder;
    this.#clickhouse = parts.clickhouse;
    this.#postgres = parts.postgres;
    this.#undo = parts.undo;
    this.clickhouseUrl = parts.clickhouse.url;
    this.databaseUrl = parts.postgres.url;
  }

  /**
   * @param prepare given the folder before anything is in it; `clickhouse` and `postgres` below it are the engines'.
   * What it returns undoes it once they have stopped
   */
  static async start(prepare?: (folder: string) => Promise<() => Promise<void>>): Promise<EnginePair> {
    const folder = await newFolder();
    const undo = await prepare?.(folder);
    const [clickhouse, postgres] = await Promise.all([clickHouseIn(folder), postgresIn(folder)]);
    return new EnginePair({ folder, clickhouse, postgres, undo });
  }

  /** SIGKILL. Resolves once it is gone. */
  async killClickHouse(): Promise<void> {
    process.kill(this.#clickhousePid(), 'SIGKILL');
    await this.#clickhouse.exited;
  }

  /** On the same port, with the same password as before. */
  async startClickHouse(): Promise<void> {
    this.#clickhouse = await clickHouseIn(this.folder, this.clickhouseUrl);
  }

  /** Lets ClickHouse stand still, as a machine that is out of reach. Undone by `resumeClickHouse`. */
  pauseClickHouse(): void {
    process.kill(this.#clickhousePid(), 'SIGSTOP');
  }

  resumeClickHouse(): void {
    process.kill(this.#clickhousePid(), 'SIGCONT');
  }

  /** SIGKILL of the server that all others of PostgreSQL are children of. Resolves once it is gone. */
  async killPostgres(): Promise<void> {
    const [pid] = (await readFile(join(this.folder, POSTGRES_FOLDER, 'postmaster.pid'), 'utf8')).split('\n');
    process.kill(Number(pid), 'SIGKILL');
    await this.#postgres.exited;
  }

  /** At the same socket as before. */
  async startPostgres(): Promise<void> {
    this.#postgres = await postgresIn(this.folder, this.databaseUrl);
  }

  async close(): Promise<void> {
    await Promise.all([this.#clickhouse.stop(), this.#postgres.stop()]);
    await this.#undo?.();
    await rm(this.folder, { recursive: true, force: true });
  }

  #clickhousePid(): number {
    const here = childrenWith(process.pid, this.folder);
    const [pid] = childrenWith(process.pid, 'clickhouse-child').filter((each) => here.includes(each));
    if (pid === undefined) throw new Error('the process of the embedded ClickHouse is not to be found');
    return pid;
  }
}

const POSTGRES_FOLDER = 'postgres';
const ENGINE_OPTIONS = { readyTimeoutMs: 60_000, onLog: (): void => undefined };

function clickHouseIn(folder: string, url?: string): Promise<EmbeddedEngine> {
  return startClickHouse({ ...ENGINE_OPTIONS, folder: join(folder, 'clickhouse'), url });
}

function postgresIn(folder: string, url?: string): Promise<EmbeddedEngine> {
  return startPostgres({ ...ENGINE_OPTIONS, folder: join(folder, POSTGRES_FOLDER), url });
}

/** What a meterd needs: two databases, a data folder. Several meterds may be started, one after the other or beside each other. */
export class Site {
  readonly engines: EnginePair;
  readonly dataDir: string;
  readonly clickhouseUrl: string;
  readonly databaseUrl: string;
  readonly #meterds: MeterdProcess[] = [];
  #clickhouse: ClickHouseClient | undefined;
  #collectorKey: Promise<string> | undefined;

  private constructor(engines: EnginePair, dataDir: string, database: string) {
    this.engines = engines;
    this.dataDir = dataDir;
    this.clickhouseUrl = withDatabase(engines.clickhouseUrl, database);
    this.databaseUrl = withDatabase(engines.databaseUrl, database);
  }

  static async make(engines: EnginePair, folder: string): Promise<Site> {
    const database = `chaos_${randomBytes(8).toString('hex')}`;
    const admin = new Client({ connectionString: engines.databaseUrl });
    await admin.connect();
    try {
      await admin.query(`CREATE DATABASE ${database}`);
    } finally {
      await admin.end();
    }
    return new Site(engines, join(folder, database), database);
  }

  /**
   * Starts meterd here.
   * @param environment on top of what it needs to find its engines
   */
  async start(environment: Readonly<Record<string, string>> = {}): Promise<MeterdProcess> {
    return this.#startIn(this.dataDir, environment);
  }

  /** Starts meterd beside others of this site, with a data folder of its own: only the first has the admin key. */
  async startBeside(dataDir: string, environment: Readonly<Record<string, string>> = {}): Promise<MeterdProcess> {
    await mkdir(dataDir, { recursive: true });
    await copyFile(join(this.dataDir, ADMIN_KEY_FILE), join(dataDir, ADMIN_KEY_FILE));
    return this.#startIn(dataDir, environment);
  }

  async #startIn(dataDir: string, environment: Readonly<Record<string, string>>): Promise<MeterdProcess> {
    const meterd = await startMeterd(dataDir, {
      METERD_LISTEN: '127.0.0.1:0',
      // Errors are what rows provoke; who looks into one wants to see them.
      METERD_LOG_LEVEL: process.env['METERD_LOG_LEVEL'] ?? 'silent',
      CLICKHOUSE_URL: this.clickhouseUrl,
      DATABASE_URL: this.databaseUrl,
      ...NO_JOBS,
      ...environment,
    });
    this.#meterds.push(meterd);
    return meterd;
  }

  /** The key of a host that may report everything, made at the first call. */
  collectorKey({ url, adminKey }: MeterdProcess): Promise<string> {
    const keys = clientOf(KeyService, url, adminKey);
    const wanted = { name: 'chaos', role: KeyRole.COLLECTOR, regions: ['*'], backfill: true };
    this.#collectorKey ??= keys.createKey(wanted).then(({ secret }) => secret);
    return this.#collectorKey;
  }

  /** A client of this site's database, for the oracle's own queries. Only once a meterd was started here. */
  clickhouse(): ClickHouseClient {
    this.#clickhouse ??= connectClickHouse({ url: this.clickhouseUrl, requestTimeoutMs: REQUEST_TIMEOUT_MS });
    return this.#clickhouse;
  }

  /** Asks a meterd to stop and waits until it has. @returns its exit code */
  stop(meterd: MeterdProcess): Promise<number | null> {
    return stopMeterd(meterd);
  }

  async close(): Promise<void> {
    await Promise.all(this.#meterds.map((meterd) => stopMeterd(meterd)));
    await this.#clickhouse?.close();
  }
}

function withDatabase(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = database;
  return changed.href;
}
