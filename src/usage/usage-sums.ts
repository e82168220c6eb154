import type { ClickHouseClient } from '@clickhouse/client';
import { type CoverageRow, coverageSums, withHoles } from './coverage.ts';
import type { PageEnd } from './page-token.ts';
import { select } from './select.ts';
import { sourcesOf } from './sources.ts';
import { regionFilter, type TouchedWay, usageRows, type UsageScope } from './usage-rows.ts';

/** What to group by; groups are in the order of the keys. */
export interface GroupKey {
  readonly name: 'start' | 'in_region' | 'of_vm';
  /** Over the columns of `usageRows`. */
  readonly sql: string;
}

export interface Grouping {
  /** None: there is the total only. */
  readonly keys: readonly GroupKey[];
  /** SQL for the first hour of a row's group, in Unix seconds: a window that is carried into it counts there. */
  readonly startSql: string;
  /** Groups behind this one. */
  readonly after: PageEnd | undefined;
  /** Groups at most. */
  readonly limit: number;
}

/** Sums of a group, or of everything with how complete it is. What is not grouped by is missing. */
export interface SumsRow extends CoverageRow {
  readonly is_total: number;
  readonly start?: string;
  readonly in_region?: string;
  readonly of_vm?: string;
  /** In the order of `QUANTITY_COLUMNS`. */
  readonly quantity_sums: readonly string[];
  readonly windows_sum: string;
  readonly hour_rows: string;
  readonly is_irregular: number;
}

/**
 * The total over the scope, and groups. One statement gives both, since ClickHouse takes longer to plan than to run it;
 * and it takes the quick way for touched hours, which knows where it was wrong, before the general one.
 * @throws what ClickHouse reports; the signal's reason
 */
export async function usageSums(
  clickhouse: ClickHouseClient,
  scope: UsageScope,
  grouping: Grouping,
  signal: AbortSignal,
): Promise<{ readonly total: SumsRow; readonly groups: readonly SumsRow[] }> {
  const ask = async (way: TouchedWay) => {
    const rows = usageRows(scope, way);
    const parameters = { ...rows.parameters, ...pageParameters(grouping) };
    const found = await select<SumsRow>(clickhouse, sumsSql(scope, grouping, rows.sql), parameters, signal);
    const [total, ...groups] = found;
    if (total?.is_total !== 1) throw new Error('the sums of usage came back without their total');
    return { total, groups };
  };
  if (scope.touched.length === 0) return ask('quick');
  const cells = { customerIds: [scope.customerId], hours: scope.touched };
  // Most customers have windows alone, and then the check takes less time than the quick way beside it.
  const [quick, sources] = await Promise.all([ask('quick'), sourcesOf(clickhouse, cells, signal)]);
  const isIrregular = sources.readings || sources.notices || quick.total.is_irregular === 1;
  return isIrregular ? ask(sources) : quick;
}

function pageParameters({ after, limit }: Grouping) {
  // One more for the total, which comes first.
  return { rows: limit + 1, ...(after && { start: after.start, in_region: after.region, of_vm: after.vmId }) };
}

/** An irregular row has to be seen whatever its region: that is wrong, too. */
function sumsSql(scope: UsageScope, grouping: Grouping, rows: string): string {
  const windows = (start: string) => `sum(windows) - sumIf(windows_carried, toUnixTimestamp(hour) != ${start})`;
  const names = grouping.keys.map((key) => key.name);
  const columns = [
    `${names[0] === undefined ? '1' : `grouping(${names[0]}) = 1`} AS is_total`,
    ...grouping.keys.map(({ name, sql }) => `${sql} AS ${name}`),
    'sumForEach(quantities) AS quantity_sums',
    `if(is_total, ${windows('{from:Int64}')}, ${windows(grouping.startSql)}) AS windows_sum`,
    coverageSums('is_total'),
    'count() AS hour_rows',
    'max(irregular) AS is_irregular',
  ];
  return `SELECT ${columns.join(', ')} FROM (${withHoles(rows)})
    WHERE ${regionFilter(scope)} OR irregular
    ${names.length === 0 ? '' : groupsSql(names, grouping.after !== undefined)}`;
}

function groupsSql(names: readonly GroupKey['name'][], isLaterPage: boolean): string {
  const keys = names.join(', ');
  const end = names.map((name) => `{${name}:${name === 'start' ? 'Int64' : 'String'}}`).join(', ');
  return `GROUP BY GROUPING SETS ((${keys}), ()) ${isLaterPage ? `HAVING is_total OR (${keys}) > (${end})` : ''}
    ORDER BY is_total DESC, ${keys} LIMIT {rows:UInt32}`;
}
