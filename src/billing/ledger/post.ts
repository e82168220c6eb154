import { createHash, randomUUIDv7 } from 'node:crypto';
import { sql, type Transaction } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import { insertRows } from '../../storage/postgres/insert-rows.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { type Decimal, formatDecimal } from '../money.ts';

/** One side of a ledger transaction. */
export interface Posting {
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
  entry: LedgerTransaction,
  at: Date,
): Promise<string> {
  const ids = await postAll(transaction, [entry], at);
  const id = ids.get(entry.idempotencyKey);
  if (id === undefined) throw new Error(`ledger transaction "${entry.idempotencyKey}" was not posted`);
  return id;
}

/** As `postToLedger`, for entries with different keys. @returns the ids by key */
export async function postAll(
  transaction: Transaction<Database>,
  entries: readonly LedgerTransaction[],
  at: Date,
): Promise<Map<string, string>> {
  const rows = entries.map((entry) => toRows(entry, at));
  const headers = rows.map((row) => row.header);
  await insertRows(transaction, 'ledger_transactions', headers, { skipExisting: true });
  const ids = await idsByKey(transaction, headers);
  // Those that were posted before have another id.
  const isNew = ({ id, idempotency_key }: Header): boolean => ids.get(idempotency_key) === id;
  const postings = rows.filter(({ header }) => isNew(header)).flatMap((row) => row.postings);
  // In one order for all, so that two transactions that open the same accounts never wait for each other.
  const accounts = [...new Set(postings.map((posting) => posting.account_id))].toSorted();
  const opened = accounts.map((id) => ({ id, opened_at: at }));
  await insertRows(transaction, 'ledger_accounts', opened, { skipExisting: true });
  await insertRows(transaction, 'ledger_postings', postings);
  return ids;
}

type Header = ReturnType<typeof toRows>['header'];

function toRows({ idempotencyKey, description, postings }: LedgerTransaction, at: Date) {
  const id = randomUUIDv7();
  const rows = postings.map(({ account, currency, amount }, index) => {
    return { position: index + 1, account_id: account, currency, amount: formatDecimal(amount) };
  });
  const input_hash = createHash('sha256')
    .update(JSON.stringify([description, rows]))
    .digest();
  const header = {
    id,
    idempotency_key: idempotencyKey,
    input_hash,
    description,
    posting_count: postings.length,
    posted_at: at,
  };
  return { header, postings: rows.map((row) => ({ transaction_id: id, ...row })) };
}

/** @throws CallerFault already_exists */
async function idsByKey(transaction: Transaction<Database>, headers: readonly Header[]): Promise<Map<string, string>> {
  const hashes = new Map(headers.map((header) => [header.idempotency_key, header.input_hash]));
  const stored = await transaction
    .selectFrom('ledger_transactions')
    .select(['id', 'idempotency_key', 'input_hash'])
    .where(sql<boolean>`idempotency_key = ANY(${[...hashes.keys()]}::text[])`)
    .execute();
  for (const { idempotency_key: key, input_hash } of stored) {
    if (hashes.get(key)?.equals(input_hash) === true) continue;
    const message = `idempotency_key: "${key}" was used before for another posting`;
    throw new CallerFault('already_exists', 'idempotency_key', message);
  }
  return new Map(stored.map((row) => [row.idempotency_key, row.id]));
}
