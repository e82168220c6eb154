import type { ClickHouseClient } from '@clickhouse/client';
import { CallerFault } from '../lib/failure.ts';
import { type Coverage, GAPS_MAX, parseCoverage } from './coverage.ts';
import { type PageEnd, pageToken, parsePageToken } from './page-token.ts';
import { HOUR_SECONDS } from './select.ts';
import { silentTime } from './silent-time.ts';
import { touchedHoursOf } from './touched-hours.ts';
import type { UsageScope } from './usage-rows.ts';
import { type GroupKey, type SumsRow, usageSums } from './usage-sums.ts';
import { checkFilter } from './value-bytes.ts';
import { type HourRange, type TimeRange, wholeHours } from './whole-hours.ts';
import { QUANTITY_COLUMNS, quantitiesOf, type UsageQuantities } from './window.ts';

export type UsageDimension = 'region' | 'vm' | TimeUnit;
/** Of UTC. */
type TimeUnit = 'hour' | 'day' | 'month';

export interface CustomerUsageRequest extends TimeRange {
  readonly customerId: string;
  /** Without repeats; one unit of time at most. None: one group for all. */
  readonly groupBy: readonly UsageDimension[];
  /** Only these, where any are named; at most 1,000. */
  readonly regions: readonly string[];
  /** Only these, where any are named; at most 1,000. */
  readonly vmIds: readonly string[];
  /** 1 to 10,000; 0 is the default, 1,000. */
  readonly pageSize: number;
  /** Of the page before; empty for the first. */
  readonly pageToken: string;
}

/** `region` and `vmId` are empty where not grouped by. */
export interface UsageGroup extends TimeRange {
  readonly region: string;
  readonly vmId: string;
  readonly quantities: UsageQuantities;
}

export interface CustomerUsage extends Coverage {
  /** Over the whole range and every page. */
  readonly total: UsageQuantities;
  /** By time, region, VM. */
  readonly groups: UsageGroup[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

const PAGE_SIZE_DEFAULT = 1_000;
const PAGE_SIZE_MAX = 10_000;
/** They travel in the request's address, of which ClickHouse takes 1 MiB. */
const FILTER_MAX = 1_000;
const SECOND_NANOS = 1_000_000_000n;

/**
 * Sums a customer's usage over whole hours, in groups, over everything stored so far, rolled up or not.
 * @throws CallerFault where the request is outside its bounds; what ClickHouse reports; the signal's reason
 */
export async function customerUsage(
  clickhouse: ClickHouseClient,
  request: CustomerUsageRequest,
  signal: AbortSignal,
): Promise<CustomerUsage> {
  const range = checkRequest(request);
  const bound = boundToToken(request);
  const after = request.pageToken === '' ? undefined : parsePageToken(bound, request.pageToken);
  const touched = await touchedHoursOf(clickhouse, request.customerId, range, signal);
  const { customerId, regions, vmIds, groupBy, pageSize } = request;
  const scope: UsageScope = { customerId, range, regions, vmIds, touched };
  const limit = pageSize === 0 ? PAGE_SIZE_DEFAULT : pageSize;
  const grouping = { keys: groupKeys(groupBy), startSql: groupStart(groupBy), after, limit: limit + 1 };
  const [{ total, groups }, silent] = await Promise.all([
    usageSums(clickhouse, scope, grouping, signal),
    silentTime(clickhouse, scope, GAPS_MAX, signal),
  ]);
  const found = (groupBy.length > 0 ? groups : [total]).filter((row) => row.hour_rows !== '0');
  const page = found.slice(0, limit).map((row) => toGroup(row, groupBy, range));
  const last = page.at(-1);
  const { completeness, gaps } = parseCoverage(total, silent);
  return {
    completeness,
    gaps: after ? [] : gaps,
    total: parseSums(total),
    groups: page,
    nextPageToken: last && found.length > limit ? pageToken(bound, endOf(last)) : '',
  };
}

function toGroup(row: SumsRow, groupBy: readonly UsageDimension[], range: HourRange): UsageGroup {
  return {
    region: row.in_region ?? '',
    vmId: row.of_vm ?? '',
    ...groupTime(Number(row.start ?? range.from), unitOf(groupBy), range.until),
    quantities: parseSums(row),
  };
}

const FIELDS = Object.keys(QUANTITY_COLUMNS);

const NOTHING: UsageQuantities = { ...quantitiesOf(() => 0n), observedNanos: 0n, windows: 0n };

function parseSums(row: SumsRow): UsageQuantities {
  if (row.hour_rows === '0') return NOTHING;
  return {
    ...quantitiesOf((field) => BigInt(row.quantity_sums[FIELDS.indexOf(field)] ?? 'missing')),
    observedNanos: BigInt(row.observed_nanos_sum),
    windows: BigInt(row.windows_sum),
  };
}

function groupKeys(groupBy: readonly UsageDimension[]): GroupKey[] {
  const keys: GroupKey[] = [];
  if (unitOf(groupBy) !== undefined) keys.push({ name: 'start', sql: groupStart(groupBy) });
  if (groupBy.includes('region')) keys.push({ name: 'in_region', sql: 'toString(region)' });
  if (groupBy.includes('vm')) keys.push({ name: 'of_vm', sql: 'vm_id' });
  return keys;
}

function unitOf(groupBy: readonly UsageDimension[]): TimeUnit | undefined {
  return UNITS.find((unit) => groupBy.includes(unit));
}

const UNITS = ['hour', 'day', 'month'] as const;

/** The first hour of a row's group, in Unix seconds. A day or month that the range starts in starts with the range. */
function groupStart(groupBy: readonly UsageDimension[]): string {
  const from = (start: string) => `greatest(toInt64(toUnixTimestamp(${start})), {from:Int64})`;
  switch (unitOf(groupBy)) {
    case 'hour':
      return 'toInt64(toUnixTimestamp(hour))';
    case 'day':
      return from("toStartOfDay(hour, 'UTC')");
    case 'month':
      return from("toDateTime(toStartOfMonth(hour, 'UTC'), 'UTC')");
    case undefined:
      return '{from:Int64}';
  }
}

/** A group of the last day or month that the range holds in part ends where the range does. */
function groupTime(start: number, unit: TimeUnit | undefined, until: number): TimeRange {
  const end = unit === undefined ? until : Math.min(endOfUnit(start, unit), until);
  return { startNanos: BigInt(start) * SECOND_NANOS, endNanos: BigInt(end) * SECOND_NANOS };
}

/** Unix seconds. */
function endOfUnit(start: number, unit: TimeUnit): number {
  if (unit === 'month') {
    const date = new Date(start * 1000);
    return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1) / 1000;
  }
  const seconds = unit === 'hour' ? HOUR_SECONDS : 24 * HOUR_SECONDS;
  return start - (start % seconds) + seconds;
}

function endOf(group: UsageGroup): PageEnd {
  return { start: Number(group.startNanos / SECOND_NANOS), region: group.region, vmId: group.vmId };
}

/** What must be the same from page to page; bigints as text, since JSON has none. The page size may change. */
function boundToToken({ customerId, startNanos, endNanos, groupBy, regions, vmIds }: CustomerUsageRequest): unknown {
  return [customerId, String(startNanos), String(endNanos), groupBy, regions, vmIds];
}

function checkRequest(request: CustomerUsageRequest) {
  const fault = (field: string, message: string) => new CallerFault('invalid_argument', field, message);
  if (request.customerId === '') throw fault('customer_id', 'customer_id is empty');
  if (!Number.isInteger(request.pageSize) || request.pageSize < 0 || request.pageSize > PAGE_SIZE_MAX) {
    throw fault('page_size', `page_size is ${request.pageSize}, not 1 to ${PAGE_SIZE_MAX}`);
  }
  const units = UNITS.filter((unit) => request.groupBy.includes(unit)).map((unit) => unit.toUpperCase());
  if (units.length > 1) throw fault('group_by', `group_by has ${units.join(' and ')}; only one of them goes`);
  if (new Set(request.groupBy).size < request.groupBy.length) {
    throw fault('group_by', `group_by is ${request.groupBy.join(', ')}: one is named twice`);
  }
  checkFilter('regions', request.regions, FILTER_MAX);
  checkFilter('vm_ids', request.vmIds, FILTER_MAX);
  return wholeHours(request);
}
