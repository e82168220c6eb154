import { createHash } from 'node:crypto';
import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import { withTransactionLock } from '../storage/postgres/advisory-lock.ts';
import type { AuditRecordsTable } from '../storage/postgres/schema-control.ts';
import type { Database } from '../storage/postgres/schema.ts';

/**
 * The audit trail: a chain of records, each hashed together with the hash before it, so that no record can be edited,
 * moved or taken out of the middle unseen.
 */

/** What happened. */
export interface AuditEntry {
  readonly at: Date;
  /** The id of the key that did it, or "meterd". */
  readonly actor: string;
  /** E.g. "plan.published". */
  readonly action: string;
  /** The id of what it was done to. */
  readonly subject: string;
  /** Stored as JSON. No secrets. */
  readonly detail: Readonly<Record<string, string | number | boolean | null | readonly string[]>>;
}

export interface AuditRecord extends Omit<AuditEntry, 'detail'> {
  /** From 1, without gaps. */
  readonly sequence: bigint;
  /** JSON. */
  readonly detail: string;
  /** SHA-256 over this record and the hash before it. */
  readonly hash: Uint8Array;
}

/** What `verifyAudit` found: the end of an unbroken chain, or the first record at which it breaks. */
export type AuditVerdict =
  | { readonly intact: true; readonly records: bigint; readonly headHash: Uint8Array }
  | { readonly intact: false; readonly sequence: bigint; readonly problem: string };

/** What the first record is chained to. */
const NO_HASH = Buffer.alloc(32);
const PAGE_ROWS = 1000;

/**
 * Appends a record in the caller's transaction, so that it is there exactly if what it tells of happened. Other
 * transactions that append wait until this one ends: append last.
 */
export async function appendAudit(transaction: Transaction<Database>, entry: AuditEntry): Promise<void> {
  await withTransactionLock(transaction, 'meterd.audit');
  const last = await transaction
    .selectFrom('audit_records')
    .select(['sequence', 'hash'])
    .orderBy('sequence', 'desc')
    .limit(1)
    .executeTakeFirst();
  const { at, actor, action, subject } = entry;
  const content = {
    sequence: BigInt(last?.sequence ?? 0) + 1n,
    actor,
    action,
    subject,
    detail: JSON.stringify(entry.detail),
  };
  const previous_hash = last?.hash ?? NO_HASH;
  const hash = hashOf(previous_hash, { ...content, atMicros: (BigInt(at.getTime()) * 1000n).toString() });
  await transaction
    .insertInto('audit_records')
    .values({ ...content, at, previous_hash, hash })
    .execute();
}

/** Newest first; those below the sequence `before` where it is given. */
export async function listAudit(
  db: Kysely<Database>,
  before: bigint | undefined,
  limit: number,
): Promise<AuditRecord[]> {
  let query = db.selectFrom('audit_records').selectAll().orderBy('sequence', 'desc').limit(limit);
  if (before !== undefined) query = query.where('sequence', '<', before.toString());
  return (await query.execute()).map(toRecord);
}

/**
 * Recomputes the chain from the record `from` on. A chain that was cut at its end is intact as far as this can see:
 * compare its head with one that was noted elsewhere.
 */
export async function verifyAudit(db: Kysely<Database>, from = 1n): Promise<AuditVerdict> {
  const before = from > 1n ? await rowsFrom(db, from - 1n, 1) : [];
  let previousHash: Uint8Array = before[0]?.hash ?? NO_HASH;
  let next = from;
  for (;;) {
    const rows = await rowsFrom(db, next, PAGE_ROWS);
    for (const row of rows) {
      const problem = problemOf(row, next, previousHash);
      if (problem !== undefined) return { intact: false, sequence: next, problem };
      previousHash = row.hash;
      next++;
    }
    if (rows.length < PAGE_ROWS) return { intact: true, records: next - from, headHash: previousHash };
  }
}

/** What a record is hashed from. Microseconds are as fine as the database tells time. */
type Content = Pick<AuditEntry, 'actor' | 'action' | 'subject'> & {
  readonly sequence: bigint | string;
  readonly detail: string;
  readonly atMicros: string;
};

type AuditRow = Selectable<AuditRecordsTable> & { readonly atMicros: string };

async function rowsFrom(db: Kysely<Database>, sequence: bigint, limit: number): Promise<AuditRow[]> {
  return db
    .selectFrom('audit_records')
    .selectAll()
    .select(sql<string>`(extract(epoch FROM at) * 1000000)::bigint`.as('atMicros'))
    .where('sequence', '>=', sequence.toString())
    .orderBy('sequence')
    .limit(limit)
    .execute();
}

function problemOf(row: AuditRow, sequence: bigint, previousHash: Uint8Array): string | undefined {
  if (row.sequence !== sequence.toString()) return `the record is missing; the next one is ${row.sequence}`;
  if (!row.previous_hash.equals(previousHash)) return 'the record is not chained to the one before it';
  if (!row.hash.equals(hashOf(row.previous_hash, row))) return 'the record is not the one that was hashed';
  return undefined;
}

function hashOf(previousHash: Uint8Array, content: Content): Buffer {
  const { sequence, atMicros, actor, action, subject, detail } = content;
  const canonical = JSON.stringify([sequence.toString(), atMicros, actor, action, subject, detail]);
  return createHash('sha256').update(previousHash).update(canonical).digest();
}

function toRecord(row: Selectable<AuditRecordsTable>): AuditRecord {
  const { sequence, at, actor, action, subject, detail, hash } = row;
  return { sequence: BigInt(sequence), at, actor, action, subject, detail, hash };
}
