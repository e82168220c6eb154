import { type Kysely, sql, type Transaction } from 'kysely';
import { describe, expect, it } from 'vitest';
import type { Anchor } from '../../src/audit/anchors.ts';
import { appendAudit, appendAuditAll, type AuditRecord, listAudit } from '../../src/audit/trail.ts';
import { type AuditVerdict, verifyAudit } from '../../src/audit/verify-audit.ts';
import type { Database } from '../../src/storage/postgres/schema.ts';
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

async function* inOrder(anchors: readonly Anchor[]): AsyncGenerator<Anchor> {
  yield* anchors;
}

function verified(of: Kysely<Database>, anchors: readonly Anchor[] = [], from?: bigint): Promise<AuditVerdict> {
  return verifyAudit(of, inOrder(anchors), from);
}

await Promise.all(Array.from({ length: RECORDS }, (_, i) => append(`thing ${i}`)));

describe('the audit trail', () => {
  it('has no gaps and is intact, though records came at the same time', async () => {
    const records = await listAudit(db, {}, 100);
    expect(records.map((record) => record.sequence)).toEqual(
      Array.from({ length: RECORDS }, (_, i) => BigInt(RECORDS - i)),
    );
    expect(await verified(db)).toMatchObject({ intact: true, records: BigInt(RECORDS), headHash: records[0]?.hash });
    expect(await verified(db, [], 10n)).toMatchObject({ intact: true, records: 15n, headHash: records[0]?.hash });
  });

  it('is read page by page', async () => {
    const page = await listAudit(db, { before: 5n }, 2);
    expect(page.map((record) => record.sequence)).toEqual([4n, 3n]);
    expect(page[0]).toMatchObject({
      at: new Date('2026-09-01T12:34:56.789Z'),
      actor: 'key',
      action: 'thing.done',
      detail: '{"n":1,"list":["a"]}',
    });
  });

  it('takes many records at once, in their order', async () => {
    const transaction = await db.startTransaction().execute();
    const entries = Array.from({ length: 2500 }, (_, i) => {
      return { at: new Date(i), actor: 'meterd', action: 'many', subject: `${i}`, detail: { i } };
    });
    await appendAuditAll(transaction, entries);
    await appendAuditAll(transaction, []);
    const [last] = await listAudit(transaction, {}, 1);
    expect(last).toMatchObject({ sequence: BigInt(RECORDS + 2500), subject: '2499' });
    expect(await verified(transaction)).toMatchObject({ intact: true, records: BigInt(RECORDS + 2500) });
    await transaction.rollback().execute();
  });

  it('is read by subject and by what actions start with', async () => {
    const transaction = await db.startTransaction().execute();
    const at = new Date(0);
    await appendAudit(transaction, { at, actor: 'a', action: 'thing_made', subject: 'thing 3', detail: {} });
    const actions = async (filter: Parameters<typeof listAudit>[1]) => {
      return (await listAudit(transaction, filter, 100)).map((record) => record.action);
    };
    expect(await actions({ subject: 'thing 3' })).toEqual(['thing_made', 'thing.done']);
    expect(await actions({ subject: 'thing 3', actionPrefix: 'thing.' })).toEqual(['thing.done']);
    // What is a pattern to LIKE is a plain character here.
    expect(await actions({ actionPrefix: 'thing_' })).toEqual(['thing_made']);
    await transaction.rollback().execute();
  });

  it('leaves nothing and no gap where the transaction is rolled back', async () => {
    const rolledBack = db.transaction().execute(async (transaction) => {
      await appendAudit(transaction, { at: new Date(0), actor: 'a', action: 'b', subject: 'c', detail: {} });
      throw new Error('changed my mind');
    });
    await expect(rolledBack).rejects.toThrow('changed my mind');
    expect(await listAudit(db, {}, 100)).toHaveLength(RECORDS);
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
    [
      'DELETE FROM audit_records WHERE sequence > 20',
      21n,
      'the record is missing; the tail is cut: the last one is 20, the head says 24',
    ],
    [`UPDATE audit_head SET hash = sha256('x')`, 24n, 'the record is not the one that the head of the trail names'],
    ['DELETE FROM audit_head', 1n, 'the head of the trail is missing'],
    ['UPDATE audit_head SET sequence = 20', 20n, 'the record is not the one that the head of the trail names'],
    [
      'UPDATE audit_head h SET sequence = 20, hash = r.hash FROM audit_records r WHERE r.sequence = 20',
      24n,
      'the record is beyond the head of the trail',
    ],
  ])('shows that somebody ran %s', async (statement, sequence, problem) => {
    const verdict = await inUnguardedTransaction([statement], verified);
    expect(verdict).toEqual({ intact: false, sequence, problem });
  });

  it('is intact beside true anchors, of the newest record too', async () => {
    const anchors = (await listAudit(db, {}, 100)).filter(({ sequence }) => sequence % 8n === 0n).toReversed();
    expect(anchors.map(({ sequence }) => sequence)).toEqual([8n, 16n, 24n]);
    expect(await verified(db, anchors.map(toAnchor))).toMatchObject({ intact: true, records: BigInt(RECORDS) });
  });

  it('shows against an anchor that records were hashed anew, head and all', async () => {
    const anchors = (await listAudit(db, {}, 100)).map(toAnchor).toReversed();
    const verdict = await inUnguardedTransaction([], async (transaction) => {
      await sql`DELETE FROM audit_records WHERE sequence > 22`.execute(transaction);
      await sql`UPDATE audit_head h SET sequence = 22, hash = r.hash FROM audit_records r WHERE r.sequence = 22`.execute(
        transaction,
      );
      await appendAudit(transaction, { at: new Date(0), actor: 'a', action: 'b', subject: 'forged', detail: {} });
      const [withAnchors, without] = [await verified(transaction, anchors), await verified(transaction)];
      expect(without).toMatchObject({ intact: true, records: 23n });
      return withAnchors;
    });
    expect(verdict).toEqual({ intact: false, sequence: 23n, problem: 'the record is not the one that was anchored' });
  });

  it('shows against an anchor that the tail was cut together with the head', async () => {
    const [newest] = await listAudit(db, {}, 1);
    const cutToTwenty = [
      'DELETE FROM audit_records WHERE sequence > 20',
      'UPDATE audit_head h SET sequence = 20, hash = r.hash FROM audit_records r WHERE r.sequence = 20',
    ];
    const verdict = await inUnguardedTransaction(cutToTwenty, (transaction) => {
      return verified(transaction, newest === undefined ? [] : [toAnchor(newest)]);
    });
    const problem = 'the record is missing; the tail is cut: the last one is 20, record 24 was anchored';
    expect(verdict).toEqual({ intact: false, sequence: 21n, problem });
  });
});

function toAnchor({ sequence, hash }: Pick<AuditRecord, 'sequence' | 'hash'>): Anchor {
  return { sequence, hash: Buffer.from(hash) };
}

/** As an owner of the database could, who takes the guards away. Rolled back. */
async function inUnguardedTransaction(
  statements: readonly string[],
  look: (transaction: Transaction<Database>) => Promise<AuditVerdict>,
): Promise<AuditVerdict> {
  const transaction = await db.startTransaction().execute();
  await sql`ALTER TABLE audit_records DISABLE TRIGGER refuse_change`.execute(transaction);
  await sql`ALTER TABLE audit_head DISABLE TRIGGER refuse_removal`.execute(transaction);
  for (const statement of statements) await sql.raw(statement).execute(transaction);
  const verdict = await look(transaction);
  await transaction.rollback().execute();
  return verdict;
}
