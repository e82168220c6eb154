import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import * as copy from '../../src/backup/clickhouse-copy.ts';
import { makeFolder } from '../../src/backup/folder.ts';
import type { ClickHouseFile } from '../../src/backup/manifest.ts';
import { clickHouseForTest } from '../database.ts';
import { folderForTest } from '../meterd.ts';

const from = await clickHouseForTest();
const to = await clickHouseForTest();
const folder = join(await folderForTest(), 'backup');
const { signal } = new AbortController();
const files: ClickHouseFile[] = [];

const DAY_S = 86_400;
/** Twenty days ago: no row goes by itself meanwhile. */
const startS = Math.floor(Date.now() / 1000) - 20 * DAY_S;

const filled: string[] = [];

/** Rows of every table, of two months where it has months; some twice, as merges leave them. @returns the tables */
async function fill(): Promise<string[]> {
  const tables = await from.client.query({
    query: `SELECT name FROM system.tables WHERE database = currentDatabase() AND name != 'schema_migrations'`,
    format: 'JSONEachRow',
  });
  const names = (await tables.json<{ name: string }>()).map(({ name }) => name);
  for (const name of names) {
    const columns = await from.client.query({
      query: `SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}
        AND default_kind != 'ALIAS'`,
      query_params: { table: name },
      format: 'JSONEachRow',
    });
    const typed = await columns.json<{ name: string; type: string }>();
    const structure = typed.map((column) => `${column.name} ${column.type}`).join(', ');
    // Random times would lie in as many months as there are rows, and in years that a table has no room for.
    const replaced = typed.flatMap((column) => {
      if (column.name === 'is_deleted') return ['is_deleted % 2 AS is_deleted'];
      if (!column.type.startsWith('DateTime')) return [];
      return [`toDateTime(${startS} + cityHash64(${column.name}) % ${40 * DAY_S}, 'UTC') AS ${column.name}`];
    });
    const replace = replaced.length === 0 ? '' : `REPLACE (${replaced.join(', ')})`;
    const random = `generateRandom('${structure.replaceAll("'", "''")}', 7, 12, 3)`;
    const query = `INSERT INTO ${name} SELECT * ${replace} FROM ${random} LIMIT 200`;
    for (let times = 0; times < 2; times++) await from.client.command({ query });
  }
  return names;
}

beforeAll(async () => {
  filled.push(...(await fill()));
  await makeFolder(folder);
  const frozen = await copy.freezeTables(from.client, signal);
  const values = [{ drain_id: randomUUID(), customer_id: 'later', hour: 3600 }];
  await from.client.insert({ table: 'touched_hours', values, format: 'JSONEachRow' });
  await from.client.command({ query: 'TRUNCATE TABLE windows' });
  for (const part of await copy.partsOf(from.client, frozen)) {
    const file = await copy.copyOut(from.client, part, folder, signal);
    if (file !== undefined) files.push(file);
  }
  await copy.dropFrozen(from.client);
});

it('brings every row of every table back as it was when the tables were frozen', async () => {
  expect([...new Set(files.map(({ table }) => table))].toSorted()).toEqual(filled.toSorted());
  expect(filled).toContain('windows');
  expect(files.filter(({ table }) => table === 'windows').length).toBeGreaterThan(1);
  for (const file of files) await copy.copyIn(to.client, file, folder);
  const counts = await to.client.query({
    query: `SELECT (SELECT count() FROM windows FINAL) AS windows, (SELECT count() FROM touched_hours) AS touches,
      (SELECT countIf(customer_id = 'later') FROM touched_hours) AS later`,
    format: 'JSONEachRow',
  });
  expect(await counts.json()).toEqual([{ windows: '200', touches: '400', later: '0' }]);
});

it('says so where other rows came back than were written', async () => {
  const [file] = files.filter(({ table }) => table === 'usage_hours');
  if (file === undefined) throw new Error('there are no hours');
  // The same number of rows, and one of them another.
  const forged = { ...file, fingerprint: String(BigInt(file.fingerprint ?? 0) ^ 1n) };
  await expect(copy.copyIn(to.client, forged, folder)).rejects.toThrow(`${file.name} came back`);
});

it('leaves nothing of the frozen tables behind, those of a backup that was killed included', async () => {
  await copy.freezeTables(from.client, signal);
  await copy.freezeTables(from.client, signal);
  await copy.dropFrozen(from.client);
  const left = await from.client.query({
    query: `SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE 'backup%'`,
    format: 'JSONEachRow',
  });
  expect(await left.json()).toEqual([]);
});

it('refuses a cluster', async () => {
  await from.client.command({ query: "CREATE TABLE apart AS windows ENGINE = Merge(currentDatabase(), '^windows$')" });
  await expect(copy.freezeTables(from.client, signal)).rejects.toThrow('table apart is Merge; back up a cluster');
  await from.client.command({ query: 'DROP TABLE apart' });
});
