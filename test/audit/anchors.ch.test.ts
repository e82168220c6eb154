import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { type Anchor, anchorHead, headHasMoved, readAnchors } from '../../src/audit/anchors.ts';
import { appendAuditAll } from '../../src/audit/trail.ts';
import { verifyAudit } from '../../src/audit/verify-audit.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { clickHouseForTest, postgresForTest } from '../database.ts';

const { db } = await postgresForTest();
const { client: clickhouse } = await clickHouseForTest();
const store = { db, clickhouse, clock: systemClock };
const signal = new AbortController().signal;

function append(count: number): Promise<void> {
  const entries = Array.from({ length: count }, (_, i) => {
    return { at: new Date(i), actor: 'meterd', action: 'thing.done', subject: `${i}`, detail: {} };
  });
  return db.transaction().execute((transaction) => appendAuditAll(transaction, entries));
}

async function anchorsFrom(from: bigint): Promise<Anchor[]> {
  const anchors: Anchor[] = [];
  for await (const anchor of readAnchors(clickhouse, from, signal)) anchors.push(anchor);
  return anchors;
}

describe('anchors of the audit trail', () => {
  it('copy the head whenever it has moved, and prove it', async () => {
    expect(await anchorHead(store, signal)).toBeUndefined();
    await append(3);
    expect(await headHasMoved(store, signal)).toBe(true);
    expect(await anchorHead(store, signal)).toMatchObject({ sequence: 3n });
    expect(await headHasMoved(store, signal)).toBe(false);
    expect(await anchorHead(store, signal)).toBeUndefined();
    await append(4);
    const second = await anchorHead(store, signal);
    const anchors = await anchorsFrom(1n);
    expect(anchors.map(({ sequence }) => sequence)).toEqual([3n, 7n]);
    expect(anchors[1]).toEqual(second);
    expect(await anchorsFrom(4n)).toEqual([second]);
    expect(await verifyAudit(db, readAnchors(clickhouse, 1n, signal))).toMatchObject({ intact: true, records: 7n });
  });

  it('name the record of an anchor that differs', async () => {
    await clickhouse.command({
      query: `INSERT INTO audit_anchors SELECT 5, unhex(repeat('ab', 32)), now64(9)`,
    });
    expect(await verifyAudit(db, readAnchors(clickhouse, 1n, signal))).toEqual({
      intact: false,
      sequence: 5n,
      problem: 'the record is not the one that was anchored',
    });
  });

  it('are not made of a head that has gone back, nor of none', async () => {
    await sql`UPDATE audit_head SET sequence = 2`.execute(db);
    await expect(anchorHead(store, signal)).rejects.toThrow(
      'the audit trail was cut: its head says 2, and record 7 was anchored before',
    );
    expect(await headHasMoved(store, signal)).toBe(true);
    await sql`ALTER TABLE audit_head DISABLE TRIGGER refuse_removal`.execute(db);
    await sql`DELETE FROM audit_head`.execute(db);
    await expect(anchorHead(store, signal)).rejects.toThrow('its head is missing');
  });
});
