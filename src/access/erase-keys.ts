import { sql, type Transaction } from 'kysely';
import type { Database } from '../storage/postgres/schema.ts';

/**
 * Removes a customer's keys, and its id from those that name others too.
 * @returns the ids of the keys that are gone
 */
export async function eraseKeysOf(transaction: Transaction<Database>, customerId: string): Promise<string[]> {
  // A collector key that named this customer alone goes as well: without a name it would report for everybody.
  const removed = await transaction
    .deleteFrom('api_keys')
    .where(sql<boolean>`customer_ids <> '{}' AND customer_ids <@ ARRAY[${customerId}]`)
    .returning('id')
    .execute();
  await transaction
    .updateTable('api_keys')
    .set({ customer_ids: sql<string[]>`array_remove(customer_ids, ${customerId})` })
    .where(sql<boolean>`${customerId} = ANY(customer_ids)`)
    .execute();
  return removed.map((row) => row.id);
}
