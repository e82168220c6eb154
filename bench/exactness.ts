import type { ClickHouseClient } from '@clickhouse/client';
import { differences, QUANTITY_COLUMNS, type Tally } from './generator/tally.ts';

/** How many differences are named; the others are counted. */
const NAMED_MAX = 10;

interface CustomerRow {
  readonly customer_id: string;
  readonly windows: string;
  readonly conflicting: string;
  readonly quantities: readonly string[];
}

/**
 * Compares what is stored with what was acknowledged: the number of distinct windows and the sum of every quantity, by
 * customer. Its query is its own: it takes each window key once, and leans on nothing of the service's.
 * @param expected what was acknowledged, and what was stored before
 * @returns what is wrong, in words; empty where all is equal to the last digit
 */
export async function compareStored(clickhouse: ClickHouseClient, expected: Tally): Promise<string[]> {
  const { found, conflicting } = await storedTally(clickhouse);
  const wrong = differences(expected, found);
  if (conflicting > 0n) wrong.unshift(`${conflicting} windows are stored with values that differ`);
  return wrong.length > NAMED_MAX
    ? [...wrong.slice(0, NAMED_MAX), `and ${wrong.length - NAMED_MAX} more differences`]
    : wrong;
}

/** What is stored, each window key taken once; and how many keys have values that differ. */
export async function storedTally(clickhouse: ClickHouseClient): Promise<{ found: Tally; conflicting: bigint }> {
  const answer = await clickhouse.query({
    query: `SELECT customer_id, count() AS windows, sum(differ) AS conflicting,
        [${QUANTITY_COLUMNS.map((column) => `sum(toUInt128(once_${column}))`).join(', ')}] AS quantities
      FROM (
        SELECT customer_id, vm_id, window_start, window_end, min(value_hash) != max(value_hash) AS differ,
          ${QUANTITY_COLUMNS.map((column) => `any(${column}) AS once_${column}`).join(', ')}
        FROM windows GROUP BY customer_id, vm_id, window_start, window_end
      ) GROUP BY customer_id`,
    format: 'JSONEachRow',
    clickhouse_settings: { optimize_aggregation_in_order: 1 },
  });
  const rows = await answer.json<CustomerRow>();
  const found: Tally = new Map(
    rows.map((row) => [row.customer_id, { windows: BigInt(row.windows), quantities: row.quantities.map(BigInt) }]),
  );
  const conflicting = rows.reduce((sum, row) => sum + BigInt(row.conflicting), 0n);
  return { found, conflicting };
}

/** How many windows were acknowledged. */
export function windowsOf(tally: Tally): number {
  return Number([...tally.values()].reduce((sum, each) => sum + each.windows, 0n));
}
