import { createHash, randomUUIDv7 } from 'node:crypto';
import type { Transaction } from 'kysely';
import { CallerFault } from '../lib/failure.ts';
import { parseId } from '../lib/identifier.ts';
import type { Database } from '../storage/postgres/schema.ts';

/** A write that its caller may repeat without doing it twice. */
export interface KeyedRequest {
  /** What is written, e.g. "payment": each has keys of its own. */
  readonly operation: string;
  /** The caller's. */
  readonly key: string;
  /** All that the caller asked for, as plain data; may hold bigints and dates. */
  readonly input: unknown;
  readonly at: Date;
}

/**
 * Does a write once for each key. The first time makes it under a new id; the same key with the same input reads what was
 * made then. A call that comes while the first one's transaction is open waits for its end.
 * @param make writes under this id (a UUID), in the same transaction
 * @throws CallerFault invalid_argument where the key is none, already_exists where it was used for another input
 */
export async function once<T>(
  transaction: Transaction<Database>,
  { operation, key, input, at }: KeyedRequest,
  make: (id: string) => Promise<T>,
  read: (id: string) => Promise<T>,
): Promise<T> {
  parseId('idempotency_key', key);
  const id = randomUUIDv7();
  const input_hash = createHash('sha256').update(canonicalText(input)).digest();
  const inserted = await transaction
    .insertInto('write_keys')
    .values({ operation, key, input_hash, result_id: id, written_at: at })
    .onConflict((conflict) => conflict.doNothing())
    .returning('result_id')
    .executeTakeFirst();
  if (inserted !== undefined) return make(id);
  const earlier = await transaction
    .selectFrom('write_keys')
    .select(['input_hash', 'result_id'])
    .where('operation', '=', operation)
    .where('key', '=', key)
    .executeTakeFirstOrThrow();
  if (!earlier.input_hash.equals(input_hash)) {
    const message = `idempotency_key: ${JSON.stringify(key)} was used before for another ${operation}`;
    throw new CallerFault('already_exists', 'idempotency_key', message);
  }
  return read(earlier.result_id);
}

/** The same text for the same data, in whatever order its fields were written down. */
function canonicalText(data: unknown): string {
  const text = JSON.stringify(data, (_key, value: unknown) => {
    if (typeof value === 'bigint') return value.toString();
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
  return text ?? 'undefined';
}
