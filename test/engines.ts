import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { startClickHouse } from '../src/storage/embedded/clickhouse.ts';
import { startPostgres } from '../src/storage/embedded/postgres.ts';

declare module 'vitest' {
  interface ProvidedContext {
    clickHouseUrl: string;
    postgresUrl: string;
  }
}

const READY_TIMEOUT_MS = 30_000;

/** Starts one ClickHouse and one Postgres for the run, the same that meterd embeds. `database.ts` is for the tests. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'meterd-test-'));
  const common = { readyTimeoutMs: READY_TIMEOUT_MS, onLog: () => undefined };
  const engines = await Promise.all([
    startClickHouse({ ...common, folder: join(folder, 'clickhouse') }),
    startPostgres({ ...common, folder: join(folder, 'postgres') }),
  ]);
  project.provide('clickHouseUrl', engines[0].url);
  project.provide('postgresUrl', engines[1].url);
  return async () => {
    await Promise.all(engines.map((engine) => engine.stop()));
    await rm(folder, { recursive: true, force: true });
  };
}
