import type { ClickHouseClient } from '@clickhouse/client';
import { CallerFault } from '../lib/failure.ts';
import { type Coverage, coverage } from './coverage.ts';
import { type PageEnd, pageToken, parsePageToken } from './page-token.ts';
import { HOUR_SECONDS, type QueryParameters, select } from './select.ts';
import { touchedHoursOf } from './touched-hours.ts';
import {
  parseUsageSums,
  regionFilter,
  usageRows,
  type UsageScope,
  usageSums,
  type UsageSumsRow,
} from './usage-rows.ts';
import { type TimeRange, wholeHours } from './whole-hours.ts';
import { quantitiesOf, type UsageQuantities } from './window.ts';

export type UsageDimension = 'region' | 'vm' | 'hour' | 'day';

export interface CustomerUsageRequest extends TimeRange {
  readonly customerId: string;
  /** Without repeats; not hour with day. None: one group for all. */
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
  const all = groups(clickhouse, scope, { groupBy: [], after: undefined, limit: 1 }, signal);
  const [covered, [total], found] = await Promise.all([
    coverage(clickhouse, scope, signal),
    all,
    groupBy.length === 0 ? all : groups(clickhouse, scope, { groupBy, after, limit: limit + 1 }, signal),
  ]);
  const page = found.slice(0, limit);
  const last = page.at(-1);
  return {
    completeness: covered.completeness,
    gaps: after ? [] : covered.gaps,
    total: total?.quantities ?? NOTHING,
    groups: page,
    nextPageToken: last && found.length > limit ? pageToken(bound, endOf(last)) : '',
  };
}

const NOTHING: UsageQuantities = { ...quantitiesOf(() => 0n), observedNanos: 0n, windows: 0n };

interface Page {
  readonly groupBy: readonly UsageDimension[];
  readonly after: PageEnd | undefined;
  readonly limit: number;
}

async function groups(
  clickhouse: ClickHouseClient,
  scope: UsageScope,
  page: Page,
  signal: AbortSignal,
): Promise<UsageGroup[]> {
  const by = (dimension: UsageDimension) => page.groupBy.includes(dimension);
  const start = groupStart(page.groupBy);
  const keys = `${start} AS start, ${by('region') ? 'toString(region)' : "''"} AS in_region, ${by('vm') ? 'vm_id' : "''"} AS of_vm`;
  const rows = usageRows(scope);
  const found = await select<GroupRow>(
    clickhouse,
    `SELECT ${keys}, ${usageSums(start)} FROM (${rows.sql}) WHERE ${regionFilter(scope)}
     GROUP BY start, in_region, of_vm
     ${page.after ? 'HAVING (start, in_region, of_vm) > ({after_start:Int64}, {after_region:String}, {after_vm:String})' : ''}
     ORDER BY start, in_region, of_vm LIMIT {limit:UInt32}`,
    { ...rows.parameters, limit: page.limit, ...afterParameters(page.after) },
    signal,
  );
  const seconds = by('hour') ? HOUR_SECONDS : by('day') ? 24 * HOUR_SECONDS : undefined;
  return found.map((row) => ({
    region: row.in_region,
    vmId: row.of_vm,
    ...groupTime(Number(row.start), seconds, scope.range.until),
    quantities: parseUsageSums(row),
  }));
}

function afterParameters(after: PageEnd | undefined): QueryParameters {
  return after ? { after_start: after.start, after_region: after.region, after_vm: after.vmId } : {};
}

type GroupRow = UsageSumsRow & { readonly start: string; readonly in_region: string; readonly of_vm: string };

/** The first hour of a row's group, in Unix seconds. A day that the range starts in starts with the range. */
function groupStart(groupBy: readonly UsageDimension[]): string {
  if (groupBy.includes('hour')) return 'toInt64(toUnixTimestamp(hour))';
  if (groupBy.includes('day')) return "greatest(toInt64(toUnixTimestamp(toStartOfDay(hour, 'UTC'))), {from:Int64})";
  return '{from:Int64}';
}

/** A group of the first or last day that the range holds in part ends where the range does. */
function groupTime(start: number, seconds: number | undefined, until: number): TimeRange {
  const end = seconds === undefined ? until : Math.min(start - (start % seconds) + seconds, until);
  return { startNanos: BigInt(start) * SECOND_NANOS, endNanos: BigInt(end) * SECOND_NANOS };
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
  if (request.groupBy.includes('hour') && request.groupBy.includes('day')) {
    throw fault('group_by', 'group_by has HOUR and DAY; only one of them goes');
  }
  if (new Set(request.groupBy).size < request.groupBy.length) {
    throw fault('group_by', `group_by is ${request.groupBy.join(', ')}: one is named twice`);
  }
  for (const [field, names] of [
    ['regions', request.regions],
    ['vm_ids', request.vmIds],
  ] as const) {
    if (names.length > FILTER_MAX) throw fault(field, `${field} has ${names.length} entries, more than ${FILTER_MAX}`);
  }
  return wholeHours(request);
}
