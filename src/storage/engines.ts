import { join } from 'node:path';
import { startClickHouse } from './embedded/clickhouse.ts';
import type { EmbeddedEngine } from './embedded/engine-process.ts';
import { startPostgres } from './embedded/postgres.ts';

/** Where both engines are, whoever runs them. */
export interface Engines {
  readonly clickhouseUrl: string;
  readonly databaseUrl: string;
  /** Resolves with the reason when an embedded engine left without being asked to. */
  readonly failed: Promise<string>;
  /** Stops the embedded ones. */
  stop(): Promise<void>;
}

export interface EnginesOptions {
  readonly dataDir: string;
  /** `undefined`: embedded. */
  readonly clickhouseUrl: string | undefined;
  /** `undefined`: embedded. */
  readonly databaseUrl: string | undefined;
  readonly onLog: (engine: string, line: string) => void;
}

const READY_TIMEOUT_MS = 30_000;

/** Starts what is not configured, beside each other. @throws Error where one is not ready in time; the other is stopped */
export async function startEngines(options: EnginesOptions): Promise<Engines> {
  const started = await Promise.allSettled([
    options.clickhouseUrl === undefined ? startClickHouse(engineOptions(options, 'clickhouse')) : undefined,
    options.databaseUrl === undefined ? startPostgres(engineOptions(options, 'postgres')) : undefined,
  ]);
  const running = started.flatMap((each) =>
    each.status === 'fulfilled' && each.value !== undefined ? [each.value] : [],
  );
  const stop = async (): Promise<void> => void (await Promise.all(running.map((engine) => engine.stop())));
  for (const each of started) {
    if (each.status === 'fulfilled') continue;
    await stop();
    throw each.reason;
  }
  const [clickhouse, postgres] = started.map((each) => (each.status === 'fulfilled' ? each.value : undefined));
  return {
    clickhouseUrl: urlOf(options.clickhouseUrl, clickhouse),
    databaseUrl: urlOf(options.databaseUrl, postgres),
    failed: Promise.race([never(), ...running.map((engine) => engine.exited)]),
    stop,
  };
}

function engineOptions(options: EnginesOptions, name: string) {
  return {
    folder: join(options.dataDir, name),
    readyTimeoutMs: READY_TIMEOUT_MS,
    onLog: (line: string) => options.onLog(name, line),
  };
}

function urlOf(configured: string | undefined, embedded: EmbeddedEngine | undefined): string {
  const url = configured ?? embedded?.url;
  if (url === undefined) throw new Error('an engine is neither configured nor embedded');
  return url;
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}
