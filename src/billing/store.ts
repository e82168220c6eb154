import type { Kysely, Transaction } from 'kysely';
import type { Clock } from '../lib/clock.ts';
import { withTransactionLock } from '../storage/postgres/advisory-lock.ts';
import type { Database } from '../storage/postgres/schema.ts';

/** What every write of this folder needs. */
export interface BillingStore {
  readonly db: Kysely<Database>;
  readonly clock: Clock;
}

/**
 * Holds prices and subscriptions still until the transaction ends. Whoever changes them takes it, and whoever makes an
 * invoice final: otherwise a price could change in a month that is being made final with the old one.
 */
export async function lockPrices(transaction: Transaction<Database>): Promise<void> {
  await withTransactionLock(transaction, 'meterd.prices');
}
