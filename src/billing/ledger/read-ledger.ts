import { type Kysely, sql } from 'kysely';
import type { Database } from '../../storage/postgres/schema.ts';

/** What an account comes to in a currency. */
export interface Balance {
  readonly account: string;
  /** ISO 4217. */
  readonly currency: string;
  /** A decimal: debits above 0, credits below. */
  readonly amount: string;
}

export interface PostedLine {
  /** A UUID. */
  readonly transactionId: string;
  /** From 1, in the transaction. */
  readonly position: number;
  readonly postedAt: Date;
  readonly description: string;
  readonly account: string;
  readonly currency: string;
  readonly amount: string;
}

/** Of accounts that start with `prefix`; by account, then currency, behind `after` where it is given. */
export async function balances(
  db: Kysely<Database>,
  prefix: string,
  after: Pick<Balance, 'account' | 'currency'> | undefined,
  limit: number,
): Promise<Balance[]> {
  let query = db
    .selectFrom('ledger_postings')
    .select(['account_id as account', 'currency', sql<string>`sum(amount)`.as('amount')])
    .groupBy(['account_id', 'currency'])
    .orderBy(sql`account_id COLLATE "C"`)
    .orderBy('currency')
    .limit(limit);
  if (prefix !== '') query = query.where(sql<boolean>`starts_with(account_id, ${prefix})`);
  if (after !== undefined) {
    query = query.where(sql<boolean>`(account_id COLLATE "C", currency) > (${after.account}, ${after.currency})`);
  }
  return query.execute();
}

/** Newest first, behind `before` where it is given. */
export async function listPostings(
  db: Kysely<Database>,
  account: string | undefined,
  before: Pick<PostedLine, 'transactionId' | 'position'> | undefined,
  limit: number,
): Promise<PostedLine[]> {
  let query = db
    .selectFrom('ledger_postings as posting')
    .innerJoin('ledger_transactions as header', 'header.id', 'posting.transaction_id')
    .select(['posting.transaction_id as transactionId', 'posting.position', 'header.posted_at as postedAt'])
    .select(['header.description', 'posting.account_id as account', 'posting.currency', 'posting.amount'])
    // Ids are of version 7: in the order in which they were made.
    .orderBy('posting.transaction_id', 'desc')
    .orderBy('posting.position')
    .limit(limit);
  if (account !== undefined) query = query.where('posting.account_id', '=', account);
  if (before !== undefined) {
    const { transactionId, position } = before;
    query = query.where(
      sql<boolean>`(posting.transaction_id < ${transactionId}::uuid
        OR (posting.transaction_id = ${transactionId}::uuid AND posting.position > ${position}))`,
    );
  }
  return query.execute();
}
