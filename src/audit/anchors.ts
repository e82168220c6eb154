import type { ClickHouseClient } from '@clickhouse/client';
import type { Kysely } from 'kysely';
import type { Clock } from '../lib/clock.ts';
import type { Database } from '../storage/postgres/schema.ts';

/**
 * Heads of the audit trail, copied to ClickHouse: whoever can change PostgreSQL alone can neither cut the trail's end off
 * nor hash it anew unseen.
 */

/** The head of the trail as it was once. */
export interface Anchor {
  readonly sequence: bigint;
  readonly hash: Buffer;
}

export interface AnchorStore {
  readonly db: Kysely<Database>;
  readonly clickhouse: ClickHouseClient;
  readonly clock: Clock;
}

const PAGE_ROWS = 10_000;

/** @returns sequence 0 before the first record; `undefined` where somebody took the head away */
export async function readHead(db: Kysely<Database>): Promise<Anchor | undefined> {
  const head = await db.selectFrom('audit_head').select(['sequence', 'hash']).executeTakeFirst();
  return head === undefined ? undefined : { sequence: BigInt(head.sequence), hash: head.hash };
}

/**
 * Copies the head where it has moved since the last copy.
 * @returns what was copied, `undefined` where nothing was new
 * @throws Error where the head has gone back: the trail was cut. What the engines report; the signal's reason
 */
export async function anchorHead(store: AnchorStore, signal: AbortSignal): Promise<Anchor | undefined> {
  const [head, last] = [await readHead(store.db), await lastAnchored(store.clickhouse, signal)];
  if (head === undefined || head.sequence < last) {
    const shown = head === undefined ? 'is missing' : `says ${head.sequence}`;
    throw new Error(`the audit trail was cut: its head ${shown}, and record ${last} was anchored before`);
  }
  if (head.sequence === last) return undefined;
  await store.clickhouse.command({
    query: `INSERT INTO audit_anchors (sequence, hash, anchored_at)
      SELECT {sequence:UInt64}, unhex({hash:String}), fromUnixTimestamp64Nano({at:Int64})`,
    query_params: {
      sequence: head.sequence.toString(),
      hash: head.hash.toString('hex'),
      at: store.clock.nowNanos().toString(),
    },
    abort_signal: signal,
  });
  return head;
}

/** Whether the head has moved since it was copied last, either way. @throws what the engines report */
export async function headHasMoved(store: AnchorStore, signal: AbortSignal): Promise<boolean> {
  return (await readHead(store.db))?.sequence !== (await lastAnchored(store.clickhouse, signal));
}

/** In the order of their sequences, from the record `from` on. @throws what ClickHouse reports; the signal's reason */
export async function* readAnchors(
  clickhouse: ClickHouseClient,
  from: bigint,
  signal: AbortSignal,
): AsyncGenerator<Anchor, undefined, undefined> {
  let next = from;
  for (;;) {
    const anchors = await pageFrom(clickhouse, next, signal);
    yield* anchors;
    const last = anchors.at(-1);
    if (last === undefined || anchors.length < PAGE_ROWS) return;
    next = last.sequence + 1n;
  }
}

async function pageFrom(clickhouse: ClickHouseClient, next: bigint, signal: AbortSignal): Promise<Anchor[]> {
  const result = await clickhouse.query({
    query: `SELECT DISTINCT sequence, hex(hash) AS hash_hex FROM audit_anchors WHERE sequence >= {next:UInt64}
      ORDER BY sequence LIMIT ${PAGE_ROWS} WITH TIES`,
    query_params: { next: next.toString() },
    format: 'JSONEachRow',
    abort_signal: signal,
  });
  const rows = await result.json<{ sequence: string; hash_hex: string }>();
  return rows.map((row) => ({ sequence: BigInt(row.sequence), hash: Buffer.from(row.hash_hex, 'hex') }));
}

/** @returns 0 where nothing was */
async function lastAnchored(clickhouse: ClickHouseClient, signal: AbortSignal): Promise<bigint> {
  const result = await clickhouse.query({
    query: 'SELECT max(sequence) AS last FROM audit_anchors',
    format: 'JSONEachRow',
    abort_signal: signal,
  });
  const [row] = await result.json<{ last: string }>();
  if (row === undefined) throw new Error('the last anchor of the audit trail came back without its row');
  return BigInt(row.last);
}
