import { sql, type Transaction } from 'kysely';
import type { Database } from '../../storage/postgres/schema.ts';

const NUMBER_DIGITS = 6;

/**
 * Takes the next numbers of a series, in order. The counter's row stays locked until the transaction ends, and goes back with
 * it: so numbers have no gaps.
 */
export async function takeNumbers(
  transaction: Transaction<Database>,
  prefix: string,
  count: number,
): Promise<string[]> {
  if (count === 0) return [];
  const { last_number } = await transaction
    .insertInto('invoice_counters')
    .values({ series: prefix, last_number: BigInt(count) })
    .onConflict((conflict) =>
      conflict.column('series').doUpdateSet({ last_number: sql<bigint>`invoice_counters.last_number + ${count}` }),
    )
    .returning('last_number')
    .executeTakeFirstOrThrow();
  const first = BigInt(last_number) - BigInt(count) + 1n;
  return Array.from({ length: count }, (_, i) => `${prefix}${String(first + BigInt(i)).padStart(NUMBER_DIGITS, '0')}`);
}
