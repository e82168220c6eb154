import type { ClickHouseClient } from '@clickhouse/client';
import { GAP_NANOS } from './hour-rows.ts';
import { select } from './select.ts';
import { regionFilter, usageRows, type UsageScope } from './usage-rows.ts';
import type { TimeRange } from './whole-hours.ts';

/** How much of the time in which VMs ran was observed. A VM ran from its first window in the range to its last. */
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

/** Over two minutes without a window for a VM that ran before and after. */
interface UsageGap extends TimeRange {
  readonly vmId: string;
}

export interface Coverage {
  readonly completeness: Completeness;
  /** The first 1,000, by start and VM. */
  readonly gaps: UsageGap[];
}

const GAPS_MAX = 1_000;

interface CoverageRow {
  readonly observed_nanos: string;
  readonly expected_nanos: string;
  readonly gap_count: string;
  readonly gap_nanos: string;
  readonly conflicts: string;
  readonly first_gaps: readonly (readonly [start: string, vmId: string, end: string])[];
}

/**
 * How complete the scope's usage is. Time without windows belongs to the region that reports next, so with a region
 * filter the time that a VM spent elsewhere is neither expected nor a gap.
 */
export async function coverage(
  clickhouse: ClickHouseClient,
  scope: UsageScope,
  signal: AbortSignal,
): Promise<Coverage> {
  const rows = usageRows(scope);
  const [row] = await select<CoverageRow>(
    clickhouse,
    coverageSql(rows.sql, regionFilter(scope)),
    rows.parameters,
    signal,
  );
  if (!row) throw new Error('the coverage of usage came back without its row');
  const observedNanos = BigInt(row.observed_nanos);
  const expectedNanos = BigInt(row.expected_nanos);
  return {
    completeness: {
      observedNanos,
      expectedNanos,
      ratio: ratio(observedNanos, expectedNanos),
      gaps: BigInt(row.gap_count),
      gapNanos: BigInt(row.gap_nanos),
      conflicts: BigInt(row.conflicts),
    },
    gaps: row.first_gaps.map(([start, vmId, end]) => ({ vmId, startNanos: BigInt(start), endNanos: BigInt(end) })),
  };
}

/**
 * From the inside out: a VM's rows of one hour become one, whatever their regions; the time between an hour's first
 * window and the last one before it, however many hours back, is a hole; sums.
 */
function coverageSql(rows: string, inRegions: string): string {
  const nanos = (column: string) => `reinterpretAsInt64(${column})`;
  const gap = `(${nanos('gap.1')}, vm_id, ${nanos('gap.2')})`;
  return `SELECT sum(observed) AS observed_nanos, sum(observed + unobserved + hole) AS expected_nanos,
      sum(conflicting) AS conflicts, sum(length(found_gaps)) AS gap_count,
      sum(arraySum(gap -> gap.3 - gap.1, found_gaps)) AS gap_nanos,
      groupArraySortedArray(${GAPS_MAX})(found_gaps) AS first_gaps
    FROM (
      SELECT observed, unobserved, conflicting, if(hole_counts, greatest(first - last_before, 0), 0) AS hole,
        if(hole > ${GAP_NANOS}, arrayPushBack(inner_gaps, (last_before, vm_id, first)), inner_gaps) AS found_gaps
      FROM (
        SELECT *, lagInFrame(last, 1, first) OVER (PARTITION BY vm_id ORDER BY hour ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS last_before
        FROM (
          SELECT vm_id, hour, min(${nanos('first_start')}) AS first, max(${nanos('last_end')}) AS last,
            sumIf(observed_nanos, ${inRegions}) AS observed, sumIf(unobserved_nanos, ${inRegions}) AS unobserved,
            sumIf(conflicts - if(hour = toDateTime({from:Int64}, 'UTC'), 0, conflicts_carried), ${inRegions}) AS conflicting,
            argMin(${inRegions}, (first_start, region)) AS hole_counts,
            arrayMap(gap -> ${gap}, groupArrayArrayIf(gaps, ${inRegions})) AS inner_gaps
          FROM (${rows}) GROUP BY vm_id, hour
        )
      )
    )`;
}

function ratio(observed: bigint, expected: bigint): string {
  if (observed >= expected) return '1';
  return `0.${String((observed * 1_000_000n) / expected).padStart(6, '0')}`;
}
