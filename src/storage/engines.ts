import { join } from 'node:path';
import { startClickHouse } from './embedded/clickhouse.ts';
import type { EmbeddedEngine } from './embedded/engine-process.ts';
import { keepRunning } from './embedded/keep-running.ts';
import { startPostgres } from './embedded/postgres.ts';

/** Where both engines are, whoever runs them. */
export interface Engines {
  readonly clickhouseUrl: string;
  readonly databaseUrl: string;
  /** Resolves with the reason when an embedded engine left and does not stand again either. */
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
  /** Told why an embedded engine left without being asked to; it is then started again. */
  readonly onLeft?: (engine: string, why: string) => void;
}

const READY_TIMEOUT_MS = 30_000;

/**
 * Starts what is not configured, beside each other, and keeps it running.
 * @throws Error where one is not ready in time; the other is stopped
 */
export async function startEngines(options: EnginesOptions): Promise<Engines> {
  const started = await Promise.allSettled([
    options.clickhouseUrl === undefined ? keepOne(options, 'clickhouse', startClickHouse) : undefined,
    options.databaseUrl === undefined ? keepOne(options, 'postgres', startPostgres) : undefined,
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

interface EngineOptions {
  readonly folder: string;
  readonly readyTimeoutMs: number;
  readonly url: string | undefined;
  readonly onLog: (line: string) => void;
}

function keepOne(
  { dataDir, onLog, onLeft }: EnginesOptions,
  name: string,
  start: (options: EngineOptions) => Promise<EmbeddedEngine>,
): Promise<EmbeddedEngine> {
  const common = { folder: join(dataDir, name), readyTimeoutMs: READY_TIMEOUT_MS };
  return keepRunning({
    start: (url) => start({ ...common, url, onLog: (line) => onLog(name, line) }),
    onLeft: (why) => onLeft?.(name, why),
  });
}

function urlOf(configured: string | undefined, embedded: EmbeddedEngine | undefined): string {
  const url = configured ?? embedded?.url;
  if (url === undefined) throw new Error('an engine is neither configured nor embedded');
  return url;
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}
