import { type Kysely, type Selectable, sql } from 'kysely';
import type { AuditRecordsTable } from '../storage/postgres/schema-control.ts';
import type { Database } from '../storage/postgres/schema.ts';
import { type Anchor, readHead } from './anchors.ts';
import { hashOf, NO_HASH } from './trail.ts';

/** What `verifyAudit` found: the end of an unbroken chain, or the first record at which it breaks. */
export type AuditVerdict =
  | { readonly intact: true; readonly records: bigint; readonly headHash: Uint8Array }
  | { readonly intact: false; readonly sequence: bigint; readonly problem: string };

const PAGE_ROWS = 1000;

/**
 * Recomputes the chain from the record `from` on, and compares it with its head and with the anchors. Records that are
 * appended meanwhile do no harm.
 * @param anchors in order, those of records before `from` left out; without them the chain is compared with its head alone
 */
export async function verifyAudit(
  db: Kysely<Database>,
  anchors?: AsyncIterator<Anchor>,
  from = 1n,
): Promise<AuditVerdict> {
  const head = await readHead(db);
  if (head === undefined) return broken(from, 'the head of the trail is missing');
  const before = from > 1n ? await rowsFrom(db, from - 1n, 1) : [];
  let last: Anchor = { sequence: from - 1n, hash: before[0]?.hash ?? NO_HASH };
  let anchor = await nextOf(anchors);
  for (;;) {
    const rows = await rowsFrom(db, last.sequence + 1n, PAGE_ROWS);
    for (const row of rows) {
      const sequence = last.sequence + 1n;
      const problem = problemOf(row, sequence, last.hash);
      if (problem !== undefined) return broken(sequence, problem);
      last = { sequence, hash: row.hash };
      for (; anchor?.sequence === sequence; anchor = await nextOf(anchors)) {
        if (!anchor.hash.equals(row.hash)) return broken(sequence, 'the record is not the one that was anchored');
      }
      if (sequence === head.sequence && !head.hash.equals(row.hash)) {
        return broken(sequence, 'the record is not the one that the head of the trail names');
      }
    }
    if (rows.length < PAGE_ROWS) break;
  }
  const problem = await problemOfEnd(db, last, head, anchor);
  if (problem !== undefined) return broken(last.sequence + (last.sequence > head.sequence ? 0n : 1n), problem);
  return { intact: true, records: last.sequence - from + 1n, headHash: last.hash };
}

/** What the chain's end says of what should be behind it, or should not. */
async function problemOfEnd(
  db: Kysely<Database>,
  last: Anchor,
  head: Anchor,
  anchor: Anchor | undefined,
): Promise<string | undefined> {
  const cut = `the record is missing; the tail is cut: the last one is ${last.sequence}`;
  if (last.sequence < head.sequence) return `${cut}, the head says ${head.sequence}`;
  // An anchor of a record that was appended after the last page was read is younger than that, and so is the head now.
  const now = await readHead(db);
  if (now === undefined || last.sequence > now.sequence) return 'the record is beyond the head of the trail';
  if (anchor !== undefined && anchor.sequence > now.sequence) return `${cut}, record ${anchor.sequence} was anchored`;
  return undefined;
}

function broken(sequence: bigint, problem: string): AuditVerdict {
  return { intact: false, sequence, problem };
}

async function nextOf(anchors: AsyncIterator<Anchor> | undefined): Promise<Anchor | undefined> {
  const next = await anchors?.next();
  return next === undefined || next.done === true ? undefined : next.value;
}

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
