import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ClickHouseClient } from '@clickhouse/client';
import { z } from 'zod';
import { messageOf } from '../../lib/failure.ts';
import { type ClickHouseConnection, connectClickHouse, databaseOf, PATIENT_TIMEOUT_MS } from './client.ts';

/** One file of `migrations/`. */
export interface ClickHouseMigration {
  readonly number: number;
  readonly name: string;
  /** Statements that each end with `;` at the end of a line. */
  readonly sql: string;
}

export interface ClickHouseMigrationOptions extends ClickHouseConnection {
  /** Runs the work while no other process does: ClickHouse itself has no locks. */
  readonly withLock: <T>(work: () => Promise<T>) => Promise<T>;
  /** Those of `readMigrations` where left out. */
  readonly migrations?: readonly ClickHouseMigration[];
}

const MIGRATIONS_FOLDER = fileURLToPath(new URL('migrations/', import.meta.url));
const FILE_NAME = /^(\d{4})-([a-z0-9-]+)\.sql$/;

const appliedRowsSchema = z.array(z.object({ number: z.number(), name: z.string(), checksum: z.string() }));
type AppliedRow = z.infer<typeof appliedRowsSchema>[number];

/**
 * Makes the database where it is missing and applies the migrations that it has not seen, in order, forward only. ClickHouse
 * has no transactions over statements: one that was cut short runs again from its first statement, so each statement must
 * do no harm when it is repeated (`IF NOT EXISTS`).
 * @returns the names of the migrations that were applied
 * @throws Error where an applied migration was changed since, where the database was made by a newer meterd, and where a
 *   statement fails
 */
export async function migrateClickHouse(options: ClickHouseMigrationOptions): Promise<string[]> {
  const migrations = options.migrations ?? (await readMigrations());
  return options.withLock(async () => {
    await createDatabase(options);
    // A migration may rewrite a large table.
    const client = connectClickHouse({ ...options, requestTimeoutMs: PATIENT_TIMEOUT_MS });
    try {
      const applied = await readApplied(client);
      checkApplied(applied, migrations);
      const missing = migrations.slice(applied.length);
      for (const migration of missing) await apply(client, migration);
      return missing.map((migration) => migration.name);
    } finally {
      await client.close();
    }
  });
}

/** The migrations of this version, in order. @throws Error where numbers are missing, or a file's name is not `NNNN-name.sql` */
export async function readMigrations(folder: string = MIGRATIONS_FOLDER): Promise<ClickHouseMigration[]> {
  const files = (await readdir(folder)).toSorted();
  return Promise.all(
    files.map(async (file, index) => {
      const [, number, name] = FILE_NAME.exec(file) ?? [];
      if (name === undefined || Number(number) !== index + 1) {
        throw new Error(`ClickHouse migration ${file}: number ${index + 1} is expected here, as NNNN-name.sql`);
      }
      return { number: index + 1, name: `${number}-${name}`, sql: await readFile(join(folder, file), 'utf8') };
    }),
  );
}

async function createDatabase(options: ClickHouseConnection): Promise<void> {
  const client = connectClickHouse({ ...options, database: 'default' });
  try {
    await client.command({
      query: 'CREATE DATABASE IF NOT EXISTS {database:Identifier}',
      query_params: { database: databaseOf(options) },
    });
  } finally {
    await client.close();
  }
}

async function readApplied(client: ClickHouseClient): Promise<AppliedRow[]> {
  await client.command({
    query: `CREATE TABLE IF NOT EXISTS schema_migrations (
        number UInt32, name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3)
      ) ENGINE = MergeTree ORDER BY number SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`,
  });
  const answer = await client.query({
    query: 'SELECT DISTINCT number, name, checksum FROM schema_migrations ORDER BY number',
    format: 'JSONEachRow',
  });
  return appliedRowsSchema.parse(await answer.json());
}

function checkApplied(applied: readonly AppliedRow[], migrations: readonly ClickHouseMigration[]): void {
  for (const row of applied) {
    const migration = migrations[row.number - 1];
    if (migration === undefined) {
      throw new Error(
        `the ClickHouse database was made by a newer meterd: it has migration ${row.name}, ` +
          `and this version ends with ${migrations.at(-1)?.name ?? 'none'}`,
      );
    }
    if (migration.name !== row.name || checksumOf(migration) !== row.checksum) {
      throw new Error(`ClickHouse migration ${row.name} was applied and then changed: add a new one instead`);
    }
  }
}

async function apply(client: ClickHouseClient, migration: ClickHouseMigration): Promise<void> {
  try {
    for (const query of statementsOf(migration.sql)) await client.command({ query });
  } catch (cause) {
    throw new Error(`ClickHouse migration ${migration.name}: ${messageOf(cause)}`, { cause });
  }
  await client.insert({
    table: 'schema_migrations',
    values: [{ number: migration.number, name: migration.name, checksum: checksumOf(migration) }],
    format: 'JSONEachRow',
  });
}

function statementsOf(sql: string): string[] {
  return sql
    .split(/;[ \t]*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}

function checksumOf(migration: ClickHouseMigration): string {
  return createHash('sha256').update(migration.sql).digest('hex');
}
