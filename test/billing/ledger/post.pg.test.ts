import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { type LedgerTransaction, postToLedger } from '../../../src/billing/ledger/post.ts';
import { parseDecimal } from '../../../src/billing/money.ts';
import { postgresForTest } from '../../database.ts';

const { db } = await postgresForTest();
const AT = new Date('2026-10-02T00:00:00Z');

type Side = [account: string, amount: string, currency?: string];

function post(idempotencyKey: string, ...sides: Side[]): Promise<string> {
  const postings = sides.map(([account, amount, currency = 'USD']) => {
    return { account, currency, amount: parseDecimal(amount, 'amount') };
  });
  const entry: LedgerTransaction = { idempotencyKey, description: 'a sale', postings };
  return db.transaction().execute((transaction) => postToLedger(transaction, entry, AT));
}

async function countOf(key: string): Promise<number> {
  const rows = await db
    .selectFrom('ledger_postings')
    .innerJoin('ledger_transactions', 'ledger_transactions.id', 'ledger_postings.transaction_id')
    .select('ledger_postings.amount')
    .where('idempotency_key', '=', key)
    .execute();
  return rows.length;
}

describe('the ledger', () => {
  it('posts once, however often and at once it is asked to', async () => {
    const once = () => post('once', ['receivable:acme', '12.50'], ['revenue', '-12.50']);
    const ids = await Promise.all([once(), once(), once(), once()]);
    expect(new Set([...ids, await once()]).size).toBe(1);
    expect(await countOf('once')).toBe(2);
  });

  it('refuses a key that was used for something else', async () => {
    await post('used', ['receivable:acme', '1'], ['revenue', '-1']);
    const other = post('used', ['receivable:acme', '2'], ['revenue', '-2']);
    await expect(other).rejects.toMatchObject({ kind: 'already_exists', field: 'idempotency_key' });
  });

  it.each<[string, string, Side[]]>([
    [
      'one cent over',
      'its postings sum to USD 0.01',
      [
        ['a', '1.00'],
        ['b', '-0.99'],
      ],
    ],
    [
      'two currencies mixed',
      'does not balance',
      [
        ['a', '1', 'USD'],
        ['b', '-1', 'EUR'],
      ],
    ],
    ['a single posting', 'posting_count', [['a', '0']]],
  ])('refuses %s, and keeps nothing of it', async (key, message, sides) => {
    await expect(post(key, ...sides)).rejects.toThrow(message);
    expect(await countOf(key)).toBe(0);
  });

  it('takes several currencies that balance each', async () => {
    await post('two currencies', ['a', '1', 'USD'], ['b', '-1', 'USD'], ['a', '7', 'EUR'], ['b', '-7', 'EUR']);
    expect(await countOf('two currencies')).toBe(4);
  });

  it('lets nobody add to a transaction later, not even what balances', async () => {
    const id = await post('complete', ['a', '1'], ['b', '-1']);
    const more = sql`INSERT INTO ledger_postings VALUES (${id}, 3, 'a', 'USD', 5), (${id}, 4, 'b', 'USD', -5)`;
    await expect(more.execute(db)).rejects.toThrow('has 4 postings, not 2');
  });

  it.each(['ledger_accounts', 'ledger_transactions', 'ledger_postings'])('never changes %s', async (table) => {
    await post('fixed', ['a', '1'], ['b', '-1']);
    const column = table === 'ledger_postings' ? 'currency' : 'id';
    for (const statement of [
      `UPDATE ${table} SET ${column} = ${column}`,
      `DELETE FROM ${table}`,
      `TRUNCATE ${table} CASCADE`,
    ]) {
      await expect(sql.raw(statement).execute(db)).rejects.toThrow('is append-only');
    }
  });
});
