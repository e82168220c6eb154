import { describe, expect, it } from 'vitest';
import { sql } from 'kysely';
import { tryAdvisoryLock, withAdvisoryLock, withTransactionLock } from '../../../src/storage/postgres/advisory-lock.ts';
import { postgresForTest } from '../../database.ts';

const { pool, db } = await postgresForTest();

describe('an advisory lock', () => {
  it('is held by one at a time; a second waits', async () => {
    const order: string[] = [];
    const release = Promise.withResolvers<void>();
    const taken = Promise.withResolvers<void>();
    const first = withAdvisoryLock(pool, 'waiting', async () => {
      taken.resolve();
      await release.promise;
      order.push('first');
    });
    await taken.promise;
    const second = withAdvisoryLock(pool, 'waiting', async () => order.push('second'));
    await someoneWaits();
    release.resolve();
    await Promise.all([first, second]);
    expect(order).toEqual(['first', 'second']);
  });

  it('is refused at once to the one that only tries, and free again afterwards', async () => {
    await withAdvisoryLock(pool, 'trying', async () => {
      expect(await tryAdvisoryLock(pool, 'trying', async () => 1)).toEqual({ held: false });
      expect(await tryAdvisoryLock(pool, 'another', async () => 2)).toEqual({ held: true, result: 2 });
    });
    expect(await tryAdvisoryLock(pool, 'trying', async () => 3)).toEqual({ held: true, result: 3 });
  });

  it('is free again when the work fails', async () => {
    const failing = withAdvisoryLock(pool, 'failing', () => Promise.reject(new Error('the work failed')));
    await expect(failing).rejects.toThrow('the work failed');
    expect(await tryAdvisoryLock(pool, 'failing', async () => 1)).toEqual({ held: true, result: 1 });
  });

  it('is not waited for longer than the bound', async () => {
    await withAdvisoryLock(pool, 'bound', async () => {
      const startedMs = performance.now();
      const waiting = withAdvisoryLock(pool, 'bound', async () => 1, 50);
      await expect(waiting).rejects.toThrow('lock "bound": not to be had within 50 ms');
      expect(performance.now() - startedMs).toBeLessThan(5_000);
    });
  });

  it('tells the work when its connection breaks, and is then no success', async () => {
    const held = withAdvisoryLock(pool, 'breaking', async (lost) => {
      const broken = new Promise<void>((resolve) => lost.addEventListener('abort', () => resolve()));
      await pool.query(
        `SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON pg_database.oid = database
         WHERE locktype = 'advisory' AND granted AND datname = current_database()`,
      );
      await broken;
      return 'done';
    });
    await expect(held).rejects.toThrow('lock "breaking": its connection broke');
  });

  it('of a transaction is the same lock, and ends with it', async () => {
    await db.transaction().execute(async (transaction) => {
      await withTransactionLock(transaction, 'transaction');
      expect(await tryAdvisoryLock(pool, 'transaction', async () => 1)).toEqual({ held: false });
    });
    expect(await tryAdvisoryLock(pool, 'transaction', async () => 2)).toEqual({ held: true, result: 2 });
  });
});

/** Resolves when some connection of this database waits for an advisory lock. */
async function someoneWaits(): Promise<void> {
  for (;;) {
    const { rows } = await sql`
      SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
      WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()`.execute(db);
    if (rows.length > 0) return;
  }
}
