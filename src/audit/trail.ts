import { createHash } from 'node:crypto';
import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import { insertRows } from '../storage/postgres/insert-rows.ts';
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

/** What the first record is chained to. */
export const NO_HASH = Buffer.alloc(32);

/**
 * Appends a record in the caller's transaction, so that it is there exactly if what it tells of happened. Other
 * transactions that append wait until this one ends: append last.
 */
export async function appendAudit(transaction: Transaction<Database>, entry: AuditEntry): Promise<void> {
  await appendAuditAll(transaction, [entry]);
}

/** As `appendAudit`, several records in their order, with one look at the head. None: does nothing. */
export async function appendAuditAll(
  transaction: Transaction<Database>,
  entries: readonly AuditEntry[],
): Promise<void> {
  if (entries.length === 0) return;
  // The row lock keeps others away until the transaction ends; the head is the newest one once it is held.
  const head = await transaction
    .selectFrom('audit_head')
    .select(['sequence', 'hash'])
    .forUpdate()
    .executeTakeFirstOrThrow();
  let sequence = BigInt(head.sequence);
  let previous_hash = head.hash;
  const rows = entries.map((entry) => {
    const { at, actor, action, subject } = entry;
    sequence++;
    const content = { sequence, actor, action, subject, detail: JSON.stringify(entry.detail) };
    const hash = hashOf(previous_hash, { ...content, atMicros: (BigInt(at.getTime()) * 1000n).toString() });
    const row = { ...content, at, previous_hash, hash };
    previous_hash = hash;
    return row;
  });
  await insertRows(transaction, 'audit_records', rows);
}

/** Which records to list; what is left out narrows nothing. */
export interface AuditFilter {
  /** Only those below this sequence. */
  readonly before?: bigint | undefined;
  readonly subject?: string | undefined;
  /** What the action starts with, e.g. "invoice.". */
  readonly actionPrefix?: string | undefined;
}

/** Newest first. */
export async function listAudit(
  db: Kysely<Database>,
  filter: AuditFilter | undefined,
  limit: number,
): Promise<AuditRecord[]> {
  const { before, subject, actionPrefix } = filter ?? {};
  let query = db.selectFrom('audit_records').selectAll().orderBy('sequence', 'desc').limit(limit);
  if (before !== undefined) query = query.where('sequence', '<', before.toString());
  if (subject !== undefined) query = query.where('subject', '=', subject);
  if (actionPrefix !== undefined) query = query.where(sql<boolean>`starts_with(action, ${actionPrefix})`);
  return (await query.execute()).map(toRecord);
}

/** What a record is hashed from. Microseconds are as fine as the database tells time. */
type Content = Pick<AuditEntry, 'actor' | 'action' | 'subject'> & {
  readonly sequence: bigint | string;
  readonly detail: string;
  readonly atMicros: string;
};

/** SHA-256 over a record and the hash before it. */
export function hashOf(previousHash: Uint8Array, content: Content): Buffer {
  const { sequence, atMicros, actor, action, subject, detail } = content;
  const canonical = JSON.stringify([sequence.toString(), atMicros, actor, action, subject, detail]);
  return createHash('sha256').update(previousHash).update(canonical).digest();
}

function toRecord(row: Selectable<AuditRecordsTable>): AuditRecord {
  const { sequence, at, actor, action, subject, detail, hash } = row;
  return { sequence: BigInt(sequence), at, actor, action, subject, detail, hash };
}
