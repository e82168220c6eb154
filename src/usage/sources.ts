import type { ClickHouseClient } from '@clickhouse/client';
import { type Cells, cellParameters, type Sources, WINDOWS_ONLY } from './cells.ts';
import { READINGS_OF_CELLS } from './derived-windows.ts';
import { NOTICES_OF_CELLS, OWNERS_OF_UNNAMED } from './lifecycle.ts';
import { select } from './select.ts';

/**
 * What the hours of the cells' customers are computed from beside reported windows, for those that have anything. It is asked
 * before every computation, since leaving out what is not there saves most of the time that a statement takes.
 * @throws what ClickHouse reports; the signal's reason
 */
export async function sourcesByCustomer(
  clickhouse: ClickHouseClient,
  cells: Cells,
  signal: AbortSignal,
): Promise<Map<string, Sources>> {
  const rows = await select<{ customer_id: string; is_notice: number }>(
    clickhouse,
    `SELECT DISTINCT customer_id, 0 AS is_notice FROM counter_samples WHERE ${READINGS_OF_CELLS}
     UNION ALL SELECT DISTINCT customer_id, 1 FROM vm_events
       WHERE ${NOTICES_OF_CELLS} AND (customer_id = '' OR customer_id IN {customers:Array(String)})`,
    cellParameters(cells),
    signal,
  );
  const found = new Map<string, Sources>();
  const add = (customerId: string, more: Partial<Sources>) => {
    found.set(customerId, { ...(found.get(customerId) ?? WINDOWS_ONLY), ...more });
  };
  for (const row of rows) add(row.customer_id, row.is_notice === 1 ? { notices: true } : { readings: true });
  if (found.delete('')) {
    const owners = await select<{ customer_id: string }>(clickhouse, OWNERS_OF_UNNAMED, cellParameters(cells), signal);
    for (const owner of owners) add(owner.customer_id, { notices: true });
  }
  return found;
}

/** What the hours of any of these customers are computed from. @throws as `sourcesByCustomer` */
export async function sourcesOf(clickhouse: ClickHouseClient, cells: Cells, signal: AbortSignal): Promise<Sources> {
  const found = [...(await sourcesByCustomer(clickhouse, cells, signal)).values()];
  return { readings: found.some((each) => each.readings), notices: found.some((each) => each.notices) };
}
