import { GAP_NANOS, head, QUANTITIES, TIMES, WINDOW_HASH } from './cells.ts';
import { lifecycleNotices } from './lifecycle.ts';

/** What a piece of a VM's time is, in the order in which pieces of the same instant are walked. */
const STOP = 1;
const START = 2;
const WINDOW = 3;

/**
 * The general way, for the hours of which a condition holds. A VM's windows are walked by start over all its regions: each
 * adds the time that none before it covered, and the unobserved time right before it, to its own region's row. So regions
 * add up to the VM. Notices are walked with them as pieces without length: behind a stop and before a start nothing is
 * expected.
 * @param windows with the columns of `firstReports`
 * @param notices of which VMs, as a condition; none where left out
 */
export function walkedRows(windows: string, hours: string, notices?: string): string {
  const rows = 'PARTITION BY customer_id, vm_id, hour ORDER BY s, rank, e, region ROWS BETWEEN UNBOUNDED PRECEDING AND';
  const uncovered = `greatest(s - covered_until, 0) * (rank != ${START} AND rank_before != ${STOP})`;
  return `SELECT customer_id, hour, region, vm_id, ${QUANTITIES.map((column) => `sum(toUInt128(${column})) AS ${column}`).join(', ')},
      toUInt64(sum(greatest(e - greatest(s, covered_until), 0))) AS observed_nanos,
      toUInt64(sum(${uncovered})) AS unobserved_nanos,
      countIf(rank = ${WINDOW}) AS windows, sum(carried) AS windows_carried,
      sum(conflict) AS conflicts, sum(conflict * carried) AS conflicts_carried,
      fromUnixTimestamp64Nano(min(s), 'UTC') AS first_start, fromUnixTimestamp64Nano(max(e), 'UTC') AS last_end,
      arraySort(groupArrayIf((fromUnixTimestamp64Nano(covered_until, 'UTC'), fromUnixTimestamp64Nano(s, 'UTC')),
        ${uncovered} > ${GAP_NANOS})) AS gaps,
      sum(window_hash) AS windows_hash,
      toUInt8((argMin(rank, (s, rank)) = ${START}) + 2 * (argMax(rank, (s, rank)) = ${STOP})) AS edges
    FROM (
      SELECT *, greatest(max(e) OVER (${rows} 1 PRECEDING), min(s) OVER (${rows} CURRENT ROW)) AS covered_until,
        lagInFrame(rank) OVER (${rows} CURRENT ROW) AS rank_before
      FROM (${windowPieces(windows)}${notices === undefined ? '' : ` UNION ALL ${noticePieces(notices)}`}) WHERE ${hours}
    )
    GROUP BY customer_id, vm_id, hour, region`;
}

/**
 * Windows cut at the hour's edge: each piece with its hour and its bounds `s` and `e` in Unix nanoseconds. The head
 * gets floor(value × its length / the window's length) and the tail, which is `carried` into the next hour, the rest,
 * so the pieces add up to the window's values exactly.
 */
export function windowPieces(windows: string): string {
  const piece = (column: string) => {
    const ofHead = head(column, 'started', 'ended');
    return `multiIf(ended <= edge, ${column}, carried, toUInt64(${column} - ${ofHead}), toUInt64(${ofHead})) AS ${column}`;
  };
  return `WITH ${TIMES}
    SELECT customer_id, vm_id, region, conflict, carried, addHours(start_hour, carried) AS hour,
      if(carried, edge, started) AS s, if(carried, ended, least(ended, edge)) AS e, ${WINDOW} AS rank,
      ${WINDOW_HASH} AS window_hash, ${QUANTITIES.map(piece).join(', ')}
    FROM (${windows}) ARRAY JOIN if(ended > edge, [0, 1], [0]) AS carried`;
}

function noticePieces(where: string): string {
  return `SELECT customer_id, vm_id, region, 0 AS conflict, 0 AS carried,
      toStartOfHour(fromUnixTimestamp64Nano(at_nanos, 'UTC')) AS hour, at_nanos AS s, at_nanos AS e, if(is_start, ${START}, ${STOP}) AS rank,
      toUInt128(0) AS window_hash, ${QUANTITIES.map((column) => `toUInt64(0) AS ${column}`).join(', ')}
    FROM (${lifecycleNotices(where)})`;
}
