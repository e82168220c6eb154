import { createHash } from 'node:crypto';
import { sql, type Transaction } from 'kysely';
import type { Client, Pool } from 'pg';
import { endConnection, ownConnection } from './client.ts';
import type { Database } from './schema.ts';

/**
 * Advisory locks: a name is held by at most one process at a time, on whatever machine. `withAdvisoryLock` and
 * `tryAdvisoryLock` hold it by a connection of their own, apart from the pool: work under a lock needs the pool's
 * connections, and lock holders that occupied them all would wait for ever. When the process ends, Postgres ends the
 * connection and frees the lock. (A pooler between that hands out connections per transaction would break this.)
 */

/** Work under a lock. `lost` fires when the connection broke and another process may hold the lock: end then. */
export type LockedWork<T> = (lost: AbortSignal) => Promise<T>;

export type TryLockOutcome<T> = { readonly held: true; readonly result: T } | { readonly held: false };

/** The bound on waiting for a lock, where the caller names none. */
const WAIT_MS_MAX = 60_000;

/**
 * Waits for the lock, then runs `work` under it.
 * @throws Error where the lock is not free within `waitMsMax`; where it was lost; what `work` throws
 */
export async function withAdvisoryLock<T>(
  pool: Pool,
  name: string,
  work: LockedWork<T>,
  waitMsMax: number = WAIT_MS_MAX,
): Promise<T> {
  return onOwnConnection(pool, name, waitMsMax, async (client, lost) => {
    await client.query('SELECT pg_advisory_lock($1)', [lockKey(name)]).catch((cause: unknown) => {
      throw new Error(`lock "${name}": not to be had within ${waitMsMax} ms`, { cause });
    });
    return work(lost);
  });
}

/**
 * Runs `work` under the lock where that is free at once.
 * @throws Error where the lock was lost; what `work` throws
 */
export async function tryAdvisoryLock<T>(pool: Pool, name: string, work: LockedWork<T>): Promise<TryLockOutcome<T>> {
  return onOwnConnection(pool, name, WAIT_MS_MAX, async (client, lost) => {
    const answer = await client.query<{ held: boolean }>('SELECT pg_try_advisory_lock($1) AS held', [lockKey(name)]);
    return answer.rows[0]?.held === true ? { held: true, result: await work(lost) } : { held: false };
  });
}

/** Waits for the lock and holds it until the transaction ends. Bounded by the statement timeout. */
export async function withTransactionLock(transaction: Transaction<Database>, name: string): Promise<void> {
  await sql`SELECT pg_advisory_xact_lock(${lockKey(name)}::bigint)`.execute(transaction);
}

async function onOwnConnection<T>(
  pool: Pool,
  name: string,
  statementTimeoutMs: number,
  work: (client: Client, lost: AbortSignal) => Promise<T>,
): Promise<T> {
  const lost = new AbortController();
  const client = await ownConnection(pool, statementTimeoutMs);
  client.on('error', (cause) => lost.abort(new Error(`lock "${name}": its connection broke`, { cause })));
  try {
    const result = await work(client, lost.signal);
    // What was done without the lock may have been done twice; the caller must not take it for done once.
    lost.signal.throwIfAborted();
    return result;
  } finally {
    await endConnection(client);
  }
}

/** Postgres knows locks by a 64-bit number. */
function lockKey(name: string): string {
  return createHash('sha256').update(name).digest().readBigInt64BE().toString();
}
