import { GAP_NANOS } from './cells.ts';
import { HOUR_NANOS, HOUR_SECONDS, type QueryParameters } from './select.ts';
import { QUANTITY_COLUMNS } from './window.ts';

const QUANTITIES = Object.values(QUANTITY_COLUMNS).join(', ');

/** The parameters of `liveHours`, beside `{customer:String}`. */
export function liveParameters(hours: readonly number[]): QueryParameters {
  const before = hours.map((hour) => hour - HOUR_SECONDS);
  return { hours, start_hours: [...new Set([...before, ...hours])] };
}

/**
 * One customer's touched hours from raw windows, for queries: one row for each VM and hour, the same as `hourRows` has
 * where the hour is regular. Where it is not, `irregular` is 1, the row is wrong, and `hourRows` has to be asked.
 *
 * It stands beside `hourRows` for its short text: ClickHouse takes over 100 ms to plan that one, whatever there is to
 * read, and about 12 ms to plan this. It reads only the granules that the hours lie in, however far apart they are.
 *
 * @param vms a further condition on whole VMs
 */
export function liveHours(vms: string): string {
  const head = 'intDiv(value * (edge - started), ended - started)';
  return `SELECT vm_id, hour, any(piece.region) AS region, sumForEach(values) AS quantities,
      toUInt64(sum(e - s)) AS observed_nanos, toUInt64(max(e) - min(s) - sum(e - s)) AS unobserved_nanos,
      count() AS windows, sum(carried) AS windows_carried, toUInt64(0) AS conflicts, toUInt64(0) AS conflicts_carried,
      min(s) AS first, max(e) AS last, []::Array(Tuple(Int64, String, Int64)) AS gaps, toUInt8(0) AS edges,
      intervalLengthSum(s, e) != observed_nanos OR unobserved_nanos > ${GAP_NANOS}
        OR min(piece.region) != max(piece.region) AS irregular
    FROM (
      WITH toStartOfHour(window_start) AS start_hour,
        reinterpretAsInt64(window_start) AS started, reinterpretAsInt64(window_end) AS ended,
        reinterpretAsInt64(toDateTime64(start_hour, 9)) + ${HOUR_NANOS} AS edge,
        [${QUANTITIES}]::Array(UInt128) AS whole
      SELECT vm_id, region, addHours(start_hour, carried) AS hour, carried,
        if(carried, edge, started) AS s, if(carried, ended, least(ended, edge)) AS e,
        if(ended <= edge, whole, arrayMap(value -> toUInt128(if(carried, value - ${head}, ${head})), whole)) AS values
      FROM windows ARRAY JOIN if(ended > edge, [0, 1], [0]) AS carried
      WHERE customer_id = {customer:String} AND ${vms}
        AND start_hour IN {start_hours:Array(DateTime('UTC'))} AND hour IN {hours:Array(DateTime('UTC'))}
    ) AS piece
    GROUP BY vm_id, hour`;
}
