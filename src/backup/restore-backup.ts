import type { ClickHouseClient } from '@clickhouse/client';
import { type Kysely, sql } from 'kysely';
import type { Pool } from 'pg';
import { connectClickHouse } from '../storage/clickhouse/client.ts';
import { migrateClickHouse, readMigrations } from '../storage/clickhouse/migrate.ts';
import { withAdvisoryLock } from '../storage/postgres/advisory-lock.ts';
import { connectPostgres, endConnection, ownConnection } from '../storage/postgres/client.ts';
import { migratePostgres, POSTGRES_MIGRATIONS } from '../storage/postgres/migrate.ts';
import type { Database } from '../storage/postgres/schema.ts';
import * as clickhouseCopy from './clickhouse-copy.ts';
import { filesOf, type Manifest } from './manifest.ts';
import * as postgresCopy from './postgres-copy.ts';
import * as quarantineCopy from './quarantine-copy.ts';
import { touchRecent } from './recent-touches.ts';

/** Where a backup goes. */
export interface RestoreTarget {
  readonly clickhouseUrl: string;
  readonly databaseUrl: string;
  readonly dataDir: string;
  readonly onProgress: (filesRead: number, files: number) => void;
}

/** Of one table or month. */
const STATEMENT_TIMEOUT_MS = 3_600_000;

/**
 * Fills two empty databases from a backup whose files were checked: first at the schemas that it was made with, which are
 * then brought to those of this version. PostgreSQL comes last and as a whole, so that what was cut short has no ledger.
 * @throws Error where a database is not empty, where the backup is of a newer meterd, and where what came back is not what
 *   was written; what the engines report. The target is then of no use
 */
export async function restoreBackup(target: RestoreTarget, manifest: Manifest, folder: string): Promise<void> {
  const postgres = connectPostgres(target.databaseUrl);
  const clickhouse = connectClickHouse({ url: target.clickhouseUrl, requestTimeoutMs: STATEMENT_TIMEOUT_MS });
  try {
    await checkEmpty(postgres.db, target.clickhouseUrl);
    const withLock = <T>(work: () => Promise<T>): Promise<T> => withAdvisoryLock(postgres.pool, 'meterd.migrate', work);
    const [postgresThen, clickhouseThen] = await migrationsOf(manifest);
    await migratePostgres(target.databaseUrl, postgresThen);
    await migrateClickHouse({ url: target.clickhouseUrl, withLock, migrations: clickhouseThen });
    await load({ target, pool: postgres.pool, clickhouse, manifest, folder });
    await migratePostgres(target.databaseUrl);
    await migrateClickHouse({ url: target.clickhouseUrl, withLock });
    await touchRecent(clickhouse, new Date(manifest.takenAt));
  } finally {
    await postgres.close();
    await clickhouse.close();
  }
}

async function load(given: {
  target: RestoreTarget;
  pool: Pool;
  clickhouse: ClickHouseClient;
  manifest: Manifest;
  folder: string;
}): Promise<void> {
  const { target, pool, clickhouse, manifest, folder } = given;
  const files = filesOf(manifest).length;
  let filesRead = 0;
  for (const file of manifest.quarantine.files) {
    await quarantineCopy.copyIn(target.dataDir, file, folder);
    target.onProgress(++filesRead, files);
  }
  for (const file of manifest.clickhouse.files) {
    await clickhouseCopy.copyIn(clickhouse, file, folder);
    target.onProgress(++filesRead, files);
  }
  // The driver would count a copy as unanswered until its end.
  const client = await ownConnection(pool, STATEMENT_TIMEOUT_MS, { query_timeout: 0 });
  try {
    await postgresCopy.copyIn(client, manifest.postgres.files, folder);
  } finally {
    await endConnection(client);
  }
  target.onProgress(files, files);
}

/** @throws Error that says which of the two holds something */
async function checkEmpty(db: Kysely<Database>, clickhouseUrl: string): Promise<void> {
  const { rows } = await sql<{ tables: string }>`SELECT count(*) AS tables FROM pg_class
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace`.execute(db);
  if (rows[0]?.tables !== '0') throw new Error('the PostgreSQL database is not empty: restore into a new one');
  if (await clickhouseCopy.hasTables(clickhouseUrl)) {
    throw new Error('the ClickHouse database is not empty: restore into a new one');
  }
}

/** This version's migrations as far as the backup had them. @throws Error where it had others */
async function migrationsOf(manifest: Manifest) {
  const clickhouse = await readMigrations();
  const clickhouseNames = clickhouse.map(({ name }) => name);
  checkKnown('PostgreSQL', manifest.postgres.migrations, Object.keys(POSTGRES_MIGRATIONS));
  checkKnown('ClickHouse', manifest.clickhouse.migrations, clickhouseNames);
  const then = manifest.postgres.migrations;
  return [
    Object.fromEntries(Object.entries(POSTGRES_MIGRATIONS).filter(([name]) => then.includes(name))),
    clickhouse.slice(0, manifest.clickhouse.migrations.length),
  ] as const;
}

function checkKnown(engine: string, then: readonly string[], now: readonly string[]): void {
  const unknown = then.find((name, index) => now[index] !== name);
  if (unknown === undefined) return;
  throw new Error(`the backup was made by another, newer meterd: it has the ${engine} migration ${unknown}`);
}
