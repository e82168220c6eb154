import type { ClickHouseClient } from '@clickhouse/client';
import { merged } from '../fill.ts';
import type { FleetSpec } from '../generator/fleet.ts';
import { cpuSecondsOf } from '../process-usage.ts';
import { serviceInserts } from '../service-insert.ts';
import type { World } from '../world.ts';

/** What one thing more costs, in microseconds of CPU a row; differences of two runs, so small ones may come out below 0. */
export interface Rung {
  readonly what: string;
  readonly cpuMicrosPerRow: number;
}

interface Step {
  readonly what: string;
  /** The clause of a table that does this, all that the steps before do, and no more. */
  readonly engine: string;
  readonly merges: boolean;
}

/** Inserts the same rows, as the service sends them, into tables that do more and more with them, and tells what each thing more costs ClickHouse. */
export async function insertLadder(world: World, spec: FleetSpec, forMs: number): Promise<Rung[]> {
  const clickhouse = await world.clickhouse('ladder');
  const steps = stepsTo(await engineOfWindows(clickhouse));
  await clickhouse.command({ query: 'RENAME TABLE windows TO model' });
  const rungs: Rung[] = [];
  let beforeMicros = 0;
  for (const { what, engine, merges } of steps) {
    await clickhouse.command({ query: `CREATE TABLE windows AS model ENGINE = ${engine}` });
    if (!merges && engine !== 'Null') await clickhouse.command({ query: 'SYSTEM STOP MERGES windows' });
    const cpuBefore = cpuSecondsOf(world.clickhousePid);
    const rows = await serviceInserts(clickhouse, spec, forMs);
    if (merges) await merged(clickhouse);
    const micros = ((cpuSecondsOf(world.clickhousePid) - cpuBefore) * 1_000_000) / rows;
    rungs.push({ what, cpuMicrosPerRow: micros - beforeMicros });
    beforeMicros = micros;
    await clickhouse.command({ query: 'DROP TABLE windows SYNC' });
  }
  return rungs;
}

/**
 * From nothing to the table that meterd has, one thing more at a time.
 * @param engine the clause of that table
 * @throws Error where it is another kind of table than the steps lead to
 */
export function stepsTo(engine: string): Step[] {
  const unsorted = engine
    .replace(/^ReplacingMergeTree\([^)]*\)/, 'MergeTree')
    .replace(/ ORDER BY \([^)]*\)/, ' ORDER BY tuple()');
  if (!/^MergeTree .* ORDER BY tuple\(\) SETTINGS /.test(unsorted)) {
    throw new Error(`the table of windows is no sorted ReplacingMergeTree with settings: ${engine}`);
  }
  return [
    { what: 'receive and parse', engine: 'Null', merges: false },
    { what: 'compress and write', engine: `${unsorted}, auto_statistics_types = ''`, merges: false },
    { what: 'statistics of columns', engine: unsorted, merges: false },
    { what: 'sort', engine, merges: false },
    { what: 'merge', engine, merges: true },
  ];
}

async function engineOfWindows(clickhouse: ClickHouseClient): Promise<string> {
  const answer = await clickhouse.query({
    query: `SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'windows'`,
    format: 'JSONEachRow',
  });
  const [row] = await answer.json<{ engine_full: string }>();
  if (row === undefined) throw new Error('there is no table of windows');
  return row.engine_full;
}
