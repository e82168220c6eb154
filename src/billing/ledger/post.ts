import { createHash, randomUUIDv7 } from 'node:crypto';
import type { Transaction } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { type Decimal, formatDecimal } from '../money.ts';

/** One side of a ledger transaction. */
interface Posting {
  /** E.g. "revenue". Opened with its first posting. */
  readonly account: string;
  /** ISO 4217. */
  readonly currency: string;
  /** A debit is above 0, a credit below. */
  readonly amount: Decimal;
}

export interface LedgerTransaction {
  /** The same key again posts nothing. */
  readonly idempotencyKey: string;
  readonly description: string;
  /** At least two; in each currency they sum to 0. */
  readonly postings: readonly Posting[];
}

/**
 * Posts to the ledger in the caller's transaction. The database checks the balance when that commits.
 * @returns the ledger transaction's id, of the first one where the key was used before
 * @throws CallerFault already_exists where the key was used for something else
 */
export async function postToLedger(
  transaction: Transaction<Database>,
  { idempotencyKey, description, postings }: LedgerTransaction,
  at: Date,
): Promise<string> {
  const rows = postings.map(({ account, currency, amount }, index) => {
    return { position: index + 1, account_id: account, currency, amount: formatDecimal(amount) };
  });
  const input_hash = createHash('sha256')
    .update(JSON.stringify([description, rows]))
    .digest();
  const inserted = await transaction
    .insertInto('ledger_transactions')
    .values({
      id: randomUUIDv7(),
      idempotency_key: idempotencyKey,
      input_hash,
      description,
      posting_count: postings.length,
      posted_at: at,
    })
    .onConflict((conflict) => conflict.doNothing())
    .returning('id')
    .executeTakeFirst();
  if (inserted === undefined) return earlierPosting(transaction, idempotencyKey, input_hash);
  // In one order for all, so that two transactions that open the same accounts never wait for each other.
  const accounts = [...new Set(postings.map((posting) => posting.account))].toSorted();
  await transaction
    .insertInto('ledger_accounts')
    .values(accounts.map((id) => ({ id, opened_at: at })))
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await transaction
    .insertInto('ledger_postings')
    .values(rows.map((row) => ({ transaction_id: inserted.id, ...row })))
    .execute();
  return inserted.id;
}

async function earlierPosting(transaction: Transaction<Database>, key: string, inputHash: Buffer): Promise<string> {
  const earlier = await transaction
    .selectFrom('ledger_transactions')
    .select(['id', 'input_hash'])
    .where('idempotency_key', '=', key)
    .executeTakeFirstOrThrow();
  if (!earlier.input_hash.equals(inputHash)) {
    const message = `idempotency_key: "${key}" was used before for another posting`;
    throw new CallerFault('already_exists', 'idempotency_key', message);
  }
  return earlier.id;
}
