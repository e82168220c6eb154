import { QUANTITIES, type Sources, WINDOWS_OF_CELLS } from './cells.ts';
import { CHOSEN_REPORTS } from './chosen-reports.ts';
import { derivedWindows } from './derived-windows.ts';

const REPORT_COLUMNS = ['customer_id', 'vm_id', 'window_start', 'window_end', 'region', 'value_hash', ...QUANTITIES];

/** All windows that count in the cells, those that are derived from readings of counters too where `sources` says so. */
export function countedWindows(where: string, sources: Sources): string {
  const reported = firstReports(where);
  if (!sources.readings) return reported;
  return `${reported} UNION ALL SELECT ${REPORT_COLUMNS.join(', ')}, conflict FROM (${derivedWindows(where)})`;
}

/**
 * The cells' windows as they were reported, each key once: the report that somebody chose, otherwise the first one, which has the greatest
 * precedence, of equals the one with the smallest hash. `conflict` is 1 where the key was reported with different values
 * and nobody has chosen. Reads the same before and after copies are merged.
 * @param where a further condition on whole VMs, or on when windows start and end
 * @param prewhere a condition that holds where that one does, and that is cheap to look up for very many windows
 */
export function firstReports(where: string, prewhere?: string): string {
  const rows = prewhere === undefined ? 'windows' : `windows PREWHERE ${prewhere}`;
  return `SELECT ${REPORT_COLUMNS.join(', ')},
      min(value_hash) OVER reports != max(value_hash) OVER reports AND NOT max(is_chosen) OVER reports AS conflict
    FROM (
      SELECT *, (customer_id, vm_id, window_start, window_end, value_hash) IN (${CHOSEN_REPORTS}
        WHERE ${WINDOWS_OF_CELLS}) AS is_chosen
      FROM ${rows} WHERE ${WINDOWS_OF_CELLS} AND (${where})
    )
    WINDOW reports AS (PARTITION BY customer_id, vm_id, window_start, window_end
      ORDER BY is_chosen DESC, precedence DESC, value_hash ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    QUALIFY row_number() OVER reports = 1`;
}
