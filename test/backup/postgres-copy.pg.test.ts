import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { appendAudit } from '../../src/audit/trail.ts';
import { verifyAudit } from '../../src/audit/verify-audit.ts';
import { makeFolder } from '../../src/backup/folder.ts';
import type { PostgresFile } from '../../src/backup/manifest.ts';
import * as copy from '../../src/backup/postgres-copy.ts';
import { postgresForTest } from '../database.ts';
import { folderForTest } from '../meterd.ts';

const from = await postgresForTest();
const to = await postgresForTest();
const folder = join(await folderForTest(), 'backup');
const client = new Client({ connectionString: from.url });
const target = new Client({ connectionString: to.url });
const files: PostgresFile[] = [];
const HASH = `decode(repeat('ab', 32), 'hex')`;
/** What COPY marks by backslashes, and what it might end with. */
const ODD_NAME = 'Tab\there, \\N, "quote", \\., line\nend, Ünï';

async function appendTo(db: typeof from.db): Promise<void> {
  const entry = { at: new Date(0), actor: 'key', action: 'test', subject: 's', detail: { text: ODD_NAME } };
  await db.transaction().execute((transaction) => appendAudit(transaction, entry));
}

beforeAll(async () => {
  await Promise.all([client.connect(), target.connect()]);
  await client.query(`INSERT INTO customers (id, name, currency, created_at) VALUES ('acme', $1, 'EUR', now())`, [
    ODD_NAME,
  ]);
  await client.query(`INSERT INTO invoices (id, customer_id, period_start, period_end, state, currency, total, input_hash,
      lines_hash, computed_at) VALUES (gen_random_uuid(), 'acme', '2026-09-01Z', '2026-10-01Z', 'draft', 'EUR',
      '12345678901234567890.0000001', ${HASH}, ${HASH}, now())`);
  await client.query(`INSERT INTO invoice_lines (invoice_id, position, meter, description, unit, quantity, amount, starts_at,
      ends_at, regions, kind) SELECT id, 1, '', 'Flat fee', '', 1, total, period_start, period_end, '[]', 'flat' FROM invoices`);
  await client.query(`UPDATE invoices SET state = 'final', number = 'INV-1', finalized_at = now()`);
  await appendTo(from.db);
  await makeFolder(folder);
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  const tables = await copy.listTables(client);
  // After the moment that the transaction sees.
  await appendTo(from.db);
  for (const table of tables) files.push(await copy.copyOut(client, table, folder, new AbortController().signal));
  await client.query('COMMIT');
});
afterAll(() => Promise.all([client.end(), target.end()]));

it('lists a table after those that it refers to, and no table has a sequence of its own', async () => {
  const names = files.map(({ table }) => table);
  expect(names.indexOf('customers')).toBeLessThan(names.indexOf('invoices'));
  expect(names.indexOf('invoices')).toBeLessThan(names.indexOf('credit_notes'));
  expect(names.indexOf('credit_notes')).toBeLessThan(names.indexOf('credit_note_lines'));
  expect(names).not.toContain('kysely_migration');
  const sequences = await client.query(`SELECT relname FROM pg_class WHERE relkind = 'S'`);
  expect(sequences.rows).toEqual([]);
});

it('brings back every row, and none that came after the moment', async () => {
  await copy.copyIn(target, files, folder);
  const unlike = ['audit_records', 'audit_head'];
  for (const table of files.map((file) => file.table).filter((name) => !unlike.includes(name))) {
    const query = `SELECT to_jsonb(${table}) AS row FROM ${table} ORDER BY 1::text`;
    expect((await target.query(query)).rows).toEqual((await client.query(query)).rows);
  }
  expect(files.find(({ table }) => table === 'invoices')?.rows).toBe(1);
  const total = await target.query('SELECT net::text FROM invoices');
  expect(total.rows).toEqual([{ net: '12345678901234567890.0000001' }]);
  expect(await verifyAudit(to.db)).toMatchObject({ intact: true, records: 1n });
});

it('guards as before', async () => {
  await expect(target.query('UPDATE invoices SET total = 1')).rejects.toThrow('invoice INV-1 is final');
  await expect(target.query('DELETE FROM audit_records')).rejects.toThrow('append-only');
  await appendTo(to.db);
  expect(await verifyAudit(to.db)).toMatchObject({ intact: true, records: 2n });
});

it('fills nothing where one file has other rows than the manifest says', async () => {
  const empty = await postgresForTest();
  const into = new Client({ connectionString: empty.url });
  await into.connect();
  const wrong = files.map((file) => (file.table === 'invoices' ? { ...file, rows: 2 } : file));
  await expect(copy.copyIn(into, wrong, folder)).rejects.toThrow(
    'invoices.copy.zst has 1 rows, and the manifest says 2',
  );
  await into.end();
  expect((await empty.pool.query('SELECT FROM customers')).rowCount).toBe(0);
});
