import type { ClickHouseClient } from '@clickhouse/client';
import { inGroups } from './in-groups.ts';
import { cutEstimates, cutUsage, type PartialHour } from './partial-hours.ts';
import { HOUR_NANOS, type QueryParameters, select } from './select.ts';
import { type MeasuredUsage, QUANTITY_COLUMNS, quantitiesOf } from './window.ts';

/** A part of a customer's time, `[startNanos, endNanos)` in Unix nanoseconds, on whole seconds. */
export interface UsageSpan {
  readonly startNanos: bigint;
  readonly endNanos: bigint;
  /** How the plan bills gaps: not at all, linear between the windows around them, or at the rate of the one before. */
  readonly gapPolicy: 'skip' | 'interpolate' | 'carry';
  /** The longest gap that is filled. */
  readonly gapSecondsMax: number;
}

export interface UsageRequest {
  readonly customerId: string;
  readonly spans: readonly UsageSpan[];
}

/** What was used in one region in one span. */
export interface SpanUsage {
  readonly region: string;
  readonly observed: MeasuredUsage;
  readonly estimated: MeasuredUsage;
  /** Hexadecimal; changes with any hour of the span. */
  readonly hoursHash: string;
}

/** Where the whole hours of spans come from: SQL for a table with the columns of `usage_hours`, and its parameters. */
export type HoursSource = (
  customerIds: readonly string[],
  hours: HourSpan,
) => { readonly sql: string; readonly parameters: QueryParameters };

/** Where estimates come from: SQL for a table with the columns of `usage_estimates`, in the session that has it. */
export interface EstimatesSource {
  readonly sql: string;
  readonly sessionId?: string;
}

/** Unix seconds on whole hours. */
export interface HourSpan {
  readonly from: number;
  readonly until: number;
}

const SECOND_NANOS = 1_000_000_000n;
const QUANTITIES = Object.values(QUANTITY_COLUMNS);
/** With types of their own: hours that are computed now may have narrower columns. */
const NUMBERS = [...QUANTITIES, 'observed_nanos', 'windows_hash'].map(
  (column) => `reinterpretAsFixedString(toUInt128(${column}))`,
);
/**
 * A row as bytes: its numbers, always of one length, and then the two ids, which have no control characters. One SHA-256 of
 * it takes a quarter of the time of a hash of 12 values.
 */
const ROW_BYTES = `concat(${NUMBERS.join(', ')}, reinterpretAsFixedString(toUnixTimestamp(hour)), toString(region), '\\0', vm_id)`;
const ROW_HASH = `reinterpretAsUInt128(substring(SHA256(${ROW_BYTES}), 1, 16))`;
const HASH_MODULUS = 1n << 128n;

/** Hours as they were rolled up. */
export const rolledUpHours: HoursSource = (customerIds, { from, until }) => ({
  sql: `(SELECT * FROM usage_hours FINAL WHERE customer_id IN {customers:Array(String)}
    AND hour >= toDateTime({from:Int64}, 'UTC') AND hour < toDateTime({until:Int64}, 'UTC'))`,
  parameters: { customers: customerIds, from, until },
});

/** Estimates as they were stored with the hours. */
export const storedEstimates: EstimatesSource = {
  sql: '(SELECT * FROM usage_estimates FINAL WHERE customer_id IN {customers:Array(String)})',
};

/** A span of a request, in the shape in which many customers share it. */
interface Part {
  readonly customerId: string;
  readonly span: UsageSpan;
  /** By region; what all statements find is added here. */
  readonly found: Map<string, Found>;
}

interface Found {
  observed: MeasuredUsage;
  estimated: MeasuredUsage;
  hash: bigint;
}

/**
 * What customers used in their spans, by request, span and region: regions in their order, none that used nothing. Spans
 * that many customers share, as a calendar month, are read for all of them at once.
 * @throws what ClickHouse reports; the signal's reason
 */
export async function readSpans(
  clickhouse: ClickHouseClient,
  requests: readonly UsageRequest[],
  sources: { readonly hours: HoursSource; readonly estimates: EstimatesSource },
  signal: AbortSignal,
): Promise<SpanUsage[][][]> {
  const parts = requests.map(({ customerId, spans }) =>
    spans.map((span): Part => ({ customerId, span, found: new Map() })),
  );
  for (const same of inGroups(parts.flat(), ({ span }) => keyOf(span))) {
    await addWholeHours(clickhouse, same, sources.hours, signal);
    await addEstimates(clickhouse, same, sources.estimates, signal);
  }
  await addPartialHours(clickhouse, parts.flat(), sources.estimates, signal);
  return parts.map((spans) => spans.map(usageOf));
}

function keyOf({ startNanos, endNanos, gapPolicy, gapSecondsMax }: UsageSpan): string {
  return `${startNanos} ${endNanos} ${gapPolicy} ${gapSecondsMax}`;
}

type MeasuredRow = Record<string, string> & { readonly customer_id: string; readonly in_region: string };

async function addWholeHours(
  clickhouse: ClickHouseClient,
  parts: readonly Part[],
  hours: HoursSource,
  signal: AbortSignal,
): Promise<void> {
  const within = wholeHoursOf(parts[0]?.span);
  if (within === undefined) return;
  const source = hours(
    parts.map((part) => part.customerId),
    within,
  );
  const rows = await select<MeasuredRow>(
    clickhouse,
    `SELECT customer_id, toString(region) AS in_region, ${sumsOf((column) => column)},
       toString(sum(${ROW_HASH})) AS hash
     FROM ${source.sql} GROUP BY customer_id, in_region`,
    source.parameters,
    signal,
  );
  forEachRow(rows, parts, (found, row) => {
    found.observed = plus(found.observed, measuredOf(row));
    found.hash = (found.hash + BigInt(row['hash'] ?? 0)) % HASH_MODULUS;
  });
}

/** The estimates of the whole hours, where the plan bills any. */
async function addEstimates(
  clickhouse: ClickHouseClient,
  parts: readonly Part[],
  source: EstimatesSource,
  signal: AbortSignal,
): Promise<void> {
  const span = parts[0]?.span;
  const within = wholeHoursOf(span);
  if (span === undefined || within === undefined || span.gapPolicy === 'skip') return;
  const prefix = span.gapPolicy === 'carry' ? 'carried' : 'interpolated';
  const rows = await select<MeasuredRow>(
    clickhouse,
    `SELECT customer_id, toString(region) AS in_region,
       ${sumsOf((column) => (column === 'observed_nanos' ? 'nanos' : `${prefix}_${column}`))}
     FROM ${source.sql}
     WHERE hour >= toDateTime({from:Int64}, 'UTC')
       AND hour < toDateTime({until:Int64}, 'UTC') AND dateDiff('nanosecond', gap_start, gap_end) <= {longest:Int64}
     GROUP BY customer_id, in_region`,
    {
      customers: parts.map((part) => part.customerId),
      ...within,
      longest: String(BigInt(span.gapSecondsMax) * SECOND_NANOS),
    },
    signal,
    source.sessionId,
  );
  forEachRow(rows, parts, (found, row) => {
    found.estimated = plus(found.estimated, measuredOf(row));
  });
}

/** The hours that a span begins or ends in the middle of, cut at its instants. */
async function addPartialHours(
  clickhouse: ClickHouseClient,
  parts: readonly Part[],
  estimates: EstimatesSource,
  signal: AbortSignal,
): Promise<void> {
  const cuts = parts.flatMap((part) =>
    partialHoursOf(part.span).map((piece) => ({ customerId: part.customerId, part, piece })),
  );
  const keyOfCut = ({ part, piece }: (typeof cuts)[number]): string => {
    return `${piece.hourNanos} ${piece.fromNanos} ${piece.untilNanos} ${part.span.gapPolicy} ${part.span.gapSecondsMax}`;
  };
  for (const same of inGroups(cuts, keyOfCut)) {
    const [first] = same;
    if (first === undefined) continue;
    const customerIds = same.map(({ customerId }) => customerId);
    const { gapPolicy, gapSecondsMax } = first.part.span;
    if (gapPolicy !== 'skip') {
      const longestNanos = BigInt(gapSecondsMax) * SECOND_NANOS;
      const wanted = { customerIds, gapPolicy, longestNanos, source: estimates };
      const filled = await cutEstimates(clickhouse, wanted, first.piece, signal);
      for (const { part } of same) {
        for (const { region, usage } of filled.get(part.customerId) ?? []) {
          const found = foundOf(part, region);
          found.estimated = plus(found.estimated, usage);
        }
      }
    }
    const cut = await cutUsage(clickhouse, customerIds, first.piece, signal);
    for (const { part } of same) {
      for (const { region, usage, hash } of cut.get(part.customerId) ?? []) {
        const found = foundOf(part, region);
        found.observed = plus(found.observed, usage);
        found.hash = (found.hash + hash) % HASH_MODULUS;
      }
    }
  }
}

/** The hours that lie in a span as a whole. */
function wholeHoursOf(span: UsageSpan | undefined): HourSpan | undefined {
  if (span === undefined) return undefined;
  const from = ((span.startNanos + HOUR_NANOS - 1n) / HOUR_NANOS) * HOUR_NANOS;
  const until = (span.endNanos / HOUR_NANOS) * HOUR_NANOS;
  return from < until ? { from: Number(from / SECOND_NANOS), until: Number(until / SECOND_NANOS) } : undefined;
}

function partialHoursOf({ startNanos, endNanos }: UsageSpan): PartialHour[] {
  const first = (startNanos / HOUR_NANOS) * HOUR_NANOS;
  const last = (endNanos / HOUR_NANOS) * HOUR_NANOS;
  if (first === last) return [{ hourNanos: first, fromNanos: startNanos, untilNanos: endNanos }];
  const pieces: PartialHour[] = [];
  if (first < startNanos) pieces.push({ hourNanos: first, fromNanos: startNanos, untilNanos: first + HOUR_NANOS });
  if (last < endNanos) pieces.push({ hourNanos: last, fromNanos: last, untilNanos: endNanos });
  return pieces;
}

function forEachRow(
  rows: readonly MeasuredRow[],
  parts: readonly Part[],
  add: (found: Found, row: MeasuredRow) => void,
): void {
  const byCustomer = new Map<string, Part[]>();
  for (const part of parts) byCustomer.set(part.customerId, [...(byCustomer.get(part.customerId) ?? []), part]);
  for (const row of rows) {
    for (const part of byCustomer.get(row.customer_id) ?? []) add(foundOf(part, row.in_region), row);
  }
}

function foundOf({ found }: Part, region: string): Found {
  let entry = found.get(region);
  if (entry === undefined) {
    entry = { observed: NOTHING, estimated: NOTHING, hash: 0n };
    found.set(region, entry);
  }
  return entry;
}

function usageOf({ found }: Part): SpanUsage[] {
  return [...found]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([region, { observed, estimated, hash }]) => ({
      region,
      observed,
      estimated,
      hoursHash: hash.toString(16).padStart(32, '0'),
    }))
    .filter(({ observed, estimated }) => !isNothing(observed) || !isNothing(estimated));
}

const NOTHING: MeasuredUsage = { ...quantitiesOf(() => 0n), observedNanos: 0n };

function isNothing(usage: MeasuredUsage): boolean {
  return Object.values(usage).every((quantity) => quantity === 0n);
}

function plus(a: MeasuredUsage, b: MeasuredUsage): MeasuredUsage {
  return { ...quantitiesOf((field) => a[field] + b[field]), observedNanos: a.observedNanos + b.observedNanos };
}

function sumsOf(source: (column: string) => string): string {
  return [...QUANTITIES, 'observed_nanos'].map((column) => `sum(${source(column)}) AS ${column}_sum`).join(', ');
}

function measuredOf(row: MeasuredRow): MeasuredUsage {
  const sum = (column: string): bigint => BigInt(row[`${column}_sum`] ?? 0);
  return { ...quantitiesOf((field) => sum(QUANTITY_COLUMNS[field])), observedNanos: sum('observed_nanos') };
}
