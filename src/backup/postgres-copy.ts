import { escapeIdentifier, type Client, type ClientBase } from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { pipeline } from 'node:stream/promises';
import { readCompressed, writeCompressed } from './folder.ts';
import type { PostgresFile } from './manifest.ts';

/** A table as a backup has it: without the columns that the database computes itself. */
export interface PostgresTable {
  readonly table: string;
  readonly columns: readonly string[];
}

/** The migrator's own; a restore makes them by migrating. */
const NOT_COPIED = ['kysely_migration', 'kysely_migration_lock'];

/** All tables, each after those that it refers to. @throws Error where tables refer to each other in a circle */
export async function listTables(client: ClientBase): Promise<PostgresTable[]> {
  const { rows } = await client.query<{ table: string; columns: string[]; parents: string[] }>(
    `SELECT relname AS table,
       (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '') AS columns,
       ARRAY(SELECT DISTINCT parent.relname::text FROM pg_constraint JOIN pg_class parent ON parent.oid = confrelid
        WHERE conrelid = pg_class.oid AND contype = 'f' AND confrelid <> conrelid) AS parents
     FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND relname <> ALL($1)
     ORDER BY relname`,
    [NOT_COPIED],
  );
  const ordered: PostgresTable[] = [];
  const waiting = new Map(rows.map((row) => [row.table, row]));
  while (waiting.size > 0) {
    const free = [...waiting.values()].filter(({ parents }) => !parents.some((parent) => waiting.has(parent)));
    if (free.length === 0) throw new Error(`tables refer to each other in a circle: ${[...waiting.keys()].join(', ')}`);
    for (const { table, columns } of free) {
      ordered.push({ table, columns });
      waiting.delete(table);
    }
  }
  return ordered;
}

/** The names of the migrations that were applied, in order. */
export async function readMigrationNames(client: ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>('SELECT name FROM kysely_migration ORDER BY name');
  return rows.map((row) => row.name);
}

/** Writes a table's rows into a file, as the client's transaction sees them. */
export async function copyOut(
  client: ClientBase,
  { table, columns }: PostgresTable,
  folder: string,
  signal: AbortSignal,
): Promise<PostgresFile> {
  const rows = client.query(copyTo(`COPY ${listOf(table, columns)} TO STDOUT`));
  const written = await writeCompressed(folder, `postgres/${table}.copy.zst`, rows, signal);
  return { ...written, table, columns: [...columns], rows: rows.rowCount };
}

/**
 * Fills the tables of a database that was just migrated, all of them or none. What the database checks of single rows and of
 * references is checked again; triggers are not run, since they speak of changes and these rows are none.
 * @throws Error where a file has another number of rows than the manifest says; what Postgres reports
 */
export async function copyIn(client: Client, files: readonly PostgresFile[], folder: string): Promise<void> {
  await client.query('BEGIN');
  const tables = (await listTables(client)).map(({ table }) => table);
  const missing = files.filter(({ table }) => !tables.includes(table));
  if (missing.length > 0) throw new Error(`no such tables: ${missing.map(({ table }) => table).join(', ')}`);
  for (const table of tables.toReversed()) {
    await client.query(`ALTER TABLE ${escapeIdentifier(table)} DISABLE TRIGGER USER`);
    // Migrations leave a first row in some.
    await client.query(`DELETE FROM ${escapeIdentifier(table)}`);
  }
  for (const file of files) await copyFileIn(client, file, folder);
  for (const table of tables) await client.query(`ALTER TABLE ${escapeIdentifier(table)} ENABLE TRIGGER USER`);
  await client.query('COMMIT');
}

async function copyFileIn(client: Client, file: PostgresFile, folder: string): Promise<void> {
  const rows = client.query(copyFrom(`COPY ${listOf(file.table, file.columns)} FROM STDIN`));
  await readCompressed(folder, file.name, (content) => pipeline(content, rows));
  if (rows.rowCount !== file.rows) {
    throw new Error(`${file.name} has ${rows.rowCount} rows, and the manifest says ${file.rows}`);
  }
}

function listOf(table: string, columns: readonly string[]): string {
  return `${escapeIdentifier(table)} (${columns.map((column) => escapeIdentifier(column)).join(', ')})`;
}
