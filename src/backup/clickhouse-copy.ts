import type { ClickHouseClient } from '@clickhouse/client';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { CallerFault } from '../lib/failure.ts';
import { connectClickHouse, databaseOf } from '../storage/clickhouse/client.ts';
import { readCompressed, writeCompressed } from './folder.ts';
import type { ClickHouseFile } from './manifest.ts';

/** A table that does not change while it is copied, whatever happens to the one that it was made from. */
export interface FrozenTable {
  readonly table: string;
  readonly frozen: string;
  readonly engine: string;
  /** Rows go by themselves after a time. */
  readonly forgets: boolean;
}

/** One part of a table that becomes one file: a month, or all of it. */
export interface FrozenPart extends FrozenTable {
  readonly partition: string;
}

const PREFIX = 'backup_of_';
/** A restore makes it by migrating. */
const NOT_COPIED = 'schema_migrations';
const COPIED_ENGINES = ['MergeTree', 'ReplacingMergeTree'];

const tablesSchema = z.array(z.object({ name: z.string(), engine: z.string(), forgets: z.number() }));
const partsSchema = z.array(z.object({ partition: z.string() }));
const countsSchema = z.array(z.object({ rows: z.string(), fingerprint: z.string() })).length(1);

/**
 * Makes a second table of each, which shares the files of the first: that takes no time and no room, and what is merged or
 * removed from now on stays in the second.
 * @throws CallerFault failed_precondition where a table is one of a cluster
 */
export async function freezeTables(clickhouse: ClickHouseClient, signal: AbortSignal): Promise<FrozenTable[]> {
  // What is left of a backup that was killed.
  await dropFrozen(clickhouse);
  const frozen: FrozenTable[] = [];
  for (const { name: table, engine, forgets } of await tablesOf(clickhouse)) {
    if (table === NOT_COPIED) continue;
    if (!COPIED_ENGINES.includes(engine)) {
      const message = `ClickHouse: table ${table} is ${engine}; back up a cluster with its own BACKUP`;
      throw new CallerFault('failed_precondition', '', message);
    }
    const name = PREFIX + table;
    // Here, ClickHouse takes no parameter for a name.
    await clickhouse.command({ query: `CREATE TABLE ${quoted(name)} CLONE AS ${quoted(table)}`, abort_signal: signal });
    frozen.push({ table, frozen: name, engine, forgets: forgets === 1 });
  }
  return frozen;
}

/** Removes every frozen table, those of earlier backups too. */
export async function dropFrozen(clickhouse: ClickHouseClient): Promise<void> {
  const tables = (await tablesOf(clickhouse)).filter(({ name }) => name.startsWith(PREFIX));
  for (const { name } of tables) {
    const query_params = { frozen: name };
    await clickhouse.command({ query: 'DROP TABLE IF EXISTS {frozen:Identifier} SYNC', query_params });
  }
}

/** The parts of frozen tables, in order. */
export async function partsOf(clickhouse: ClickHouseClient, tables: readonly FrozenTable[]): Promise<FrozenPart[]> {
  const parts: FrozenPart[] = [];
  for (const table of tables) {
    const answer = await clickhouse.query({
      query: `SELECT DISTINCT partition_id AS partition FROM system.parts
        WHERE database = currentDatabase() AND table = {frozen:String} AND active ORDER BY partition`,
      query_params: { frozen: table.frozen },
      format: 'JSONEachRow',
    });
    for (const { partition } of partsSchema.parse(await answer.json())) parts.push({ ...table, partition });
  }
  return parts;
}

/** Whether there is any table where meterd would put its own; its database may be missing altogether. */
export async function hasTables(url: string): Promise<boolean> {
  const clickhouse = connectClickHouse({ url, database: 'default' });
  try {
    const answer = await clickhouse.query({
      query: 'SELECT name FROM system.tables WHERE database = {database:String} LIMIT 1',
      query_params: { database: databaseOf({ url }) },
      format: 'JSONEachRow',
    });
    return (await answer.json()).length > 0;
  } finally {
    await clickhouse.close();
  }
}

/** The names of the migrations that were applied, in order. */
export async function readMigrationNames(clickhouse: ClickHouseClient): Promise<string[]> {
  const query = 'SELECT DISTINCT number, name FROM schema_migrations ORDER BY number';
  const answer = await clickhouse.query({ query, format: 'JSONEachRow' });
  return z
    .array(z.object({ name: z.string() }))
    .parse(await answer.json())
    .map(({ name }) => name);
}

/**
 * Writes the rows of a part that hold: equal copies and what was replaced are left behind.
 * @returns undefined where there are none
 */
export async function copyOut(
  clickhouse: ClickHouseClient,
  part: FrozenPart,
  folder: string,
  signal: AbortSignal,
): Promise<ClickHouseFile | undefined> {
  const { table, partition, frozen, engine, forgets } = part;
  const { rows, fingerprint } = await fingerprintOf(clickhouse, { table: frozen, engine, partition });
  // An insert of nothing is an error to ClickHouse.
  if (rows === 0) return undefined;
  const answer = await clickhouse.exec({
    query: `SELECT * FROM ${PART} FORMAT Native`,
    query_params: { table: frozen, partition },
    abort_signal: signal,
    // Otherwise the server would keep the whole answer before it sends the first byte. A failure in its middle cuts the
    // connection, which the client reports.
    clickhouse_settings: { wait_end_of_query: 0, ...finalOf(engine) },
  });
  const written = await writeCompressed(folder, `clickhouse/${table}.${partition}.native.zst`, answer.stream, signal);
  return { ...written, table, partition, rows, ...(!forgets && { fingerprint }) };
}

/**
 * Stores a file's rows.
 * @throws Error where the table then has other rows than the manifest says; what ClickHouse reports
 */
export async function copyIn(clickhouse: ClickHouseClient, file: ClickHouseFile, folder: string): Promise<void> {
  const { name, table, partition } = file;
  await readCompressed(folder, name, async (content) => {
    const answer = await clickhouse.exec({
      query: 'INSERT INTO {table:Identifier} FORMAT Native',
      query_params: { table },
      values: Readable.from(content, { objectMode: false }),
      clickhouse_settings: { insert_deduplicate: 0, max_partitions_per_insert_block: '0' },
    });
    for await (const chunk of answer.stream) void chunk;
  });
  if (file.fingerprint === undefined) return;
  const [found] = (await tablesOf(clickhouse)).filter((each) => each.name === table);
  if (found === undefined) throw new Error(`${name}: there is no table ${table}`);
  const now = await fingerprintOf(clickhouse, { table, engine: found.engine, partition });
  if (now.rows !== file.rows || now.fingerprint !== file.fingerprint) {
    throw new Error(`${name} came back with ${now.rows} rows of ${file.rows}, or with others than were written`);
  }
}

function quoted(name: string): string {
  return `\`${name.replaceAll(/[\\`]/g, '\\$&')}\``;
}

const PART = '{table:Identifier} WHERE _partition_id = {partition:String}';

/** Of the rows that hold, in whatever order they lie. */
async function fingerprintOf(
  clickhouse: ClickHouseClient,
  { table, engine, partition }: { readonly table: string; readonly engine: string; readonly partition: string },
): Promise<{ rows: number; fingerprint: string }> {
  const answer = await clickhouse.query({
    query: `SELECT count() AS rows, sum(sipHash64(*)) AS fingerprint FROM ${PART}`,
    query_params: { table, partition },
    format: 'JSONEachRow',
    clickhouse_settings: finalOf(engine),
  });
  const [counts] = countsSchema.parse(await answer.json());
  return { rows: Number(counts?.rows), fingerprint: counts?.fingerprint ?? '' };
}

/** Equal copies lie in the same month, so that months need not be merged with each other. */
function finalOf(engine: string): { final?: 1; do_not_merge_across_partitions_select_final?: 1 } {
  return engine === 'ReplacingMergeTree' ? { final: 1, do_not_merge_across_partitions_select_final: 1 } : {};
}

async function tablesOf(clickhouse: ClickHouseClient): Promise<z.output<typeof tablesSchema>> {
  const answer = await clickhouse.query({
    query: `SELECT name, engine, engine_full LIKE '% TTL %' AS forgets FROM system.tables
      WHERE database = currentDatabase() AND NOT is_temporary ORDER BY name`,
    format: 'JSONEachRow',
  });
  return tablesSchema.parse(await answer.json());
}
