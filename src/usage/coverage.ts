import { GAP_NANOS } from './cells.ts';
import type { SilentTime } from './silent-time.ts';
import type { TimeRange } from './whole-hours.ts';

/**
 * How much of the time in which VMs ran was observed. A VM ran from its first sign in the range to its last: windows and notices, and behind
 * them heartbeats.
 */
interface Completeness {
  readonly observedNanos: bigint;
  readonly expectedNanos: bigint;
  /** observed / expected, rounded down to six places; "1" where nothing was expected. */
  readonly ratio: string;
  readonly gaps: bigint;
  readonly gapNanos: bigint;
  /** Window keys that were reported with different values. */
  readonly conflicts: bigint;
}

/** Over two minutes without a window for a VM that ran. */
interface UsageGap extends TimeRange {
  readonly vmId: string;
}

export interface Coverage {
  readonly completeness: Completeness;
  /** The first 1,000, by start and VM. */
  readonly gaps: UsageGap[];
}

export const GAPS_MAX = 1_000;

/** What `coverageSums` gives. */
export interface CoverageRow {
  readonly observed_nanos_sum: string;
  readonly expected_nanos_sum: string;
  readonly gap_count: string;
  readonly gap_nanos: string;
  readonly conflicts_sum: string;
  readonly first_gaps: readonly (readonly [start: string, vmId: string, end: string])[];
}

/**
 * Rows of `usageRows` with the time between the first window of a VM's hour and the last one before it, however many hours
 * back: `hole` in nanoseconds, which is one of the row's `found_gaps` too where it is long enough. It belongs to the
 * region that reports next: with a region filter on these rows, the time that a VM spent elsewhere is neither expected
 * nor a gap.
 * @param vm the columns that tell a VM from others
 */
export function withHoles(rows: string, vm = 'vm_id'): string {
  const before = `(PARTITION BY ${vm} ORDER BY hour, first, region ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)`;
  // The last instant doubled, and one more where it is a stop: the VM did not run from there on.
  return `SELECT *, max(last * 2 + (edges >= 2)) OVER ${before} AS mark_before, intDiv(mark_before, 2) AS last_before,
      if(maxOrNull(hour) OVER ${before} < hour AND bitAnd(mark_before, 1) = 0 AND bitAnd(edges, 1) = 0, first - last_before, 0) AS hole,
      if(hole > ${GAP_NANOS}, arrayPushBack(gaps, (last_before, vm_id, first)), gaps) AS found_gaps
    FROM (${rows})`;
}

/**
 * Sums of rows of `withHoles`. A conflict that was carried into an hour counts only in the first hour of the range.
 * @param listed SQL: whether gaps are listed, too
 */
export function coverageSums(listed: string): string {
  return `sum(observed_nanos) AS observed_nanos_sum,
    sum(observed_nanos + unobserved_nanos + hole) AS expected_nanos_sum,
    sum(conflicts) - sumIf(conflicts_carried, toUnixTimestamp(hour) != {from:Int64}) AS conflicts_sum,
    sum(length(found_gaps)) AS gap_count, sum(arraySum(gap -> gap.3 - gap.1, found_gaps)) AS gap_nanos,
    if(${listed}, groupArraySortedArray(${GAPS_MAX})(found_gaps), []) AS first_gaps`;
}

/** @param silent what heartbeats tell of the same VMs behind all of their rows */
export function parseCoverage(row: CoverageRow, silent: SilentTime): Coverage {
  const observedNanos = BigInt(row.observed_nanos_sum);
  const expectedNanos = BigInt(row.expected_nanos_sum) + silent.nanos;
  const gaps = [...row.first_gaps, ...silent.gaps].map(([start, vmId, end]): UsageGap => {
    return { vmId, startNanos: BigInt(start), endNanos: BigInt(end) };
  });
  return {
    completeness: {
      observedNanos,
      expectedNanos,
      ratio: ratio(observedNanos, expectedNanos),
      gaps: BigInt(row.gap_count) + silent.count,
      gapNanos: BigInt(row.gap_nanos) + silent.nanos,
      conflicts: BigInt(row.conflicts_sum),
    },
    gaps: gaps.toSorted(inOrder).slice(0, GAPS_MAX),
  };
}

function inOrder(a: UsageGap, b: UsageGap): number {
  return Number(a.startNanos - b.startNanos) || Buffer.compare(Buffer.from(a.vmId), Buffer.from(b.vmId));
}

function ratio(observed: bigint, expected: bigint): string {
  if (observed >= expected) return '1';
  return `0.${String((observed * 1_000_000n) / expected).padStart(6, '0')}`;
}
