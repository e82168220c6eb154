import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { appendAudit, listAudit, verifyAudit } from '../../src/audit/trail.ts';
import { postgresForTest } from '../database.ts';

const { db } = await postgresForTest();
const RECORDS = 24;

function append(subject: string): Promise<void> {
  const entry = {
    at: new Date('2026-09-01T12:34:56.789Z'),
    actor: 'key',
    action: 'thing.done',
    subject,
    detail: { n: 1, list: ['a'] },
  };
  return db.transaction().execute((transaction) => appendAudit(transaction, entry));
}
await Promise.all(Array.from({ length: RECORDS }, (_, i) => append(`thing ${i}`)));

describe('the audit trail', () => {
  it('has no gaps and is intact, though records came at the same time', async () => {
    const records = await listAudit(db, undefined, 100);
    expect(records.map((record) => record.sequence)).toEqual(
      Array.from({ length: RECORDS }, (_, i) => BigInt(RECORDS - i)),
    );
    expect(await verifyAudit(db)).toMatchObject({ intact: true, records: BigInt(RECORDS), headHash: records[0]?.hash });
    expect(await verifyAudit(db, 10n)).toMatchObject({ intact: true, records: 15n, headHash: records[0]?.hash });
  });

  it('is read page by page', async () => {
    const page = await listAudit(db, 5n, 2);
    expect(page.map((record) => record.sequence)).toEqual([4n, 3n]);
    expect(page[0]).toMatchObject({
      at: new Date('2026-09-01T12:34:56.789Z'),
      actor: 'key',
      action: 'thing.done',
      detail: '{"n":1,"list":["a"]}',
    });
  });

  it('leaves nothing and no gap where the transaction is rolled back', async () => {
    const rolledBack = db.transaction().execute(async (transaction) => {
      await appendAudit(transaction, { at: new Date(0), actor: 'a', action: 'b', subject: 'c', detail: {} });
      throw new Error('changed my mind');
    });
    await expect(rolledBack).rejects.toThrow('changed my mind');
    expect(await listAudit(db, undefined, 100)).toHaveLength(RECORDS);
  });

  it.each([
    ['UPDATE audit_records SET actor = actor', 'audit_records is append-only: UPDATE refused'],
    ['DELETE FROM audit_records', 'audit_records is append-only: DELETE refused'],
    ['TRUNCATE audit_records', 'audit_records is append-only: TRUNCATE refused'],
  ])('refuses %s', async (statement, message) => {
    await expect(sql.raw(statement).execute(db)).rejects.toThrow(message);
  });

  it.each([
    [
      `UPDATE audit_records SET actor = 'someone else' WHERE sequence = 7`,
      7n,
      'the record is not the one that was hashed',
    ],
    [
      `UPDATE audit_records SET at = at + interval '1 microsecond' WHERE sequence = 8`,
      8n,
      'the record is not the one that was hashed',
    ],
    [`UPDATE audit_records SET hash = sha256('x') WHERE sequence = 9`, 9n, 'the record is not the one that was hashed'],
    [
      `UPDATE audit_records SET previous_hash = sha256('x') WHERE sequence = 9`,
      9n,
      'the record is not chained to the one before it',
    ],
    ['DELETE FROM audit_records WHERE sequence = 3', 3n, 'the record is missing; the next one is 4'],
    ['DELETE FROM audit_records WHERE sequence = 1', 1n, 'the record is missing; the next one is 2'],
    [
      `UPDATE audit_records a SET detail = b.detail, subject = b.subject, hash = b.hash, previous_hash = b.previous_hash
       FROM audit_records b WHERE a.sequence = 5 AND b.sequence = 6`,
      5n,
      'the record is not chained to the one before it',
    ],
  ])('shows that somebody ran %s', async (statement, sequence, problem) => {
    const verdict = await inUnguardedTransaction(statement);
    expect(verdict).toEqual({ intact: false, sequence, problem });
  });
});

/** As an owner of the database could, who takes the guard away. Rolled back. */
async function inUnguardedTransaction(statement: string): Promise<unknown> {
  const transaction = await db.startTransaction().execute();
  await sql`ALTER TABLE audit_records DISABLE TRIGGER refuse_change`.execute(transaction);
  await sql.raw(statement).execute(transaction);
  const verdict = await verifyAudit(transaction);
  await transaction.rollback().execute();
  return verdict;
}
