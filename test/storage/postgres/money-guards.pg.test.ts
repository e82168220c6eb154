import { describe, expect, it } from 'vitest';
import { appendAudit } from '../../../src/audit/trail.ts';
import { postgresForTest } from '../../database.ts';

const { db, pool } = await postgresForTest();

const INVOICE = '01990000-0000-7000-8000-000000000001';
const NOTE = '01990000-0000-7000-8000-000000000002';
const HASH = `decode(repeat('ab', 32), 'hex')`;

await pool.query(`INSERT INTO customers (id, name, currency, created_at) VALUES ('acme', 'Acme', 'EUR', now())`);
await pool.query(`INSERT INTO invoices (id, customer_id, period_start, period_end, state, currency, total, tax, input_hash,
    lines_hash, computed_at)
  VALUES ('${INVOICE}', 'acme', '2026-09-01Z', '2026-10-01Z', 'draft', 'EUR', 119, 19, ${HASH}, ${HASH}, now())`);
await pool.query(`INSERT INTO invoice_lines (invoice_id, position, meter, description, unit, quantity, amount, starts_at,
    ends_at, regions, kind)
  VALUES ('${INVOICE}', 1, '', 'Flat fee', '', 1, 100, '2026-09-01Z', '2026-10-01Z', '[]', 'flat')`);

const set = (change: string) => pool.query(`UPDATE invoices SET ${change} WHERE id = '${INVOICE}'`);
const makeFinal = () => set(`state = 'final', number = 'INV-1', finalized_at = now()`);
const credit = (id: string, total: number) =>
  pool.query(`INSERT INTO credit_notes (id, number, invoice_id, customer_id, currency, reason, tax, total, issued_by, issued_at)
    VALUES ('${id}', 'CN-${id}', '${INVOICE}', 'acme', 'EUR', 'a test', 0, ${total}, 'key', now())`);

describe('an invoice', () => {
  it('is made final only with lines and taxes that add up, and then changes its state alone', async () => {
    await expect(makeFinal()).rejects.toThrow('is not the sum of its lines and taxes');
    await pool.query(`INSERT INTO invoice_taxes VALUES ('${INVOICE}', 1, 'VAT', 19, 100, 19, '')`);
    await makeFinal();
    for (const change of [`total = 1`, `state = 'draft'`, `state = 'paid', total = 1`, `due_at = now()`]) {
      await expect(set(change)).rejects.toThrow('invoice INV-1 is final: UPDATE refused');
    }
    const taxes = pool.query(`DELETE FROM invoice_taxes WHERE invoice_id = '${INVOICE}'`);
    await expect(taxes).rejects.toThrow('invoice INV-1 is final: DELETE of its lines refused');
    await set(`state = 'paid'`);
    await expect(set(`state = 'void', voided_at = now()`)).rejects.toThrow('UPDATE refused');
    await set(`state = 'final'`);
  });

  it('is credited at most whole', async () => {
    await expect(credit(NOTE, 119.01)).rejects.toThrow('which is final over 119 with 0 credited');
    await credit(NOTE, 19);
    await expect(credit(INVOICE, 100.01)).rejects.toThrow('with 19 credited');
    await credit(INVOICE, 100);
  });

  it('leaves its period free once it is void', async () => {
    const second = `INSERT INTO invoices (id, customer_id, period_start, period_end, state, currency, total, input_hash,
        lines_hash, computed_at)
      VALUES (gen_random_uuid(), 'acme', '2026-09-01Z', '2026-10-01Z', 'draft', 'EUR', 0, ${HASH}, ${HASH}, now())`;
    await expect(pool.query(second)).rejects.toThrow('invoices_one_per_period');
    await set(`state = 'void', voided_at = now(), void_reason = 'a test'`);
    await pool.query(second);
  });
});

describe('the head of the audit trail', () => {
  it('follows the trail, and refuses what does not go on from it', async () => {
    for (const subject of ['a', 'b', 'c']) {
      const entry = { at: new Date(0), actor: 'key', action: 'test', subject, detail: {} };
      await db.transaction().execute((transaction) => appendAudit(transaction, entry));
    }
    const head = `SELECT sequence, hash = (SELECT hash FROM audit_records WHERE sequence = 3) AS same FROM audit_head`;
    expect((await pool.query(head)).rows).toEqual([{ sequence: '3', same: true }]);
    const forged = (sequence: number, previous: string) => `INSERT INTO audit_records
      SELECT (jsonb_populate_record(last, jsonb_build_object('sequence', ${sequence}, 'previous_hash', ${previous}))).*
      FROM audit_records AS last WHERE sequence = 3`;
    await expect(pool.query(forged(5, 'last.hash'))).rejects.toThrow('audit record 5 does not follow the head, 3');
    await expect(pool.query(forged(4, `'\\x00'::bytea`))).rejects.toThrow('audit record 4 does not follow the head, 3');
    await expect(pool.query('DELETE FROM audit_head')).rejects.toThrow('audit_head is append-only');
  });
});
