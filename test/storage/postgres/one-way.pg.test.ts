import { expect, it } from 'vitest';
import { toPlanVersion } from '../../../src/billing/plans/plan-version.ts';
import { ratesOf } from '../../../src/billing/rating/content-json.ts';
import { connectPostgres } from '../../../src/storage/postgres/client.ts';
import { migratePostgres, POSTGRES_MIGRATIONS } from '../../../src/storage/postgres/migrate.ts';
import { createPostgresDatabase } from '../../database.ts';

it('what was published as four unit prices becomes the content that says the same, and stays sealed', async () => {
  const url = await createPostgresDatabase();
  const before = Object.entries(POSTGRES_MIGRATIONS).filter(([name]) => name < '0004');
  await migratePostgres(url, Object.fromEntries(before));
  const postgres = connectPostgres(url);
  const { db, pool } = postgres;
  try {
    await pool.query(`
      INSERT INTO customers (id, name, currency, created_at) VALUES ('acme', 'Acme Ltd', 'USD', now());
      INSERT INTO plan_versions (plan_id, version, currency, valid_from, published_at)
        VALUES ('basic', 1, 'USD', '2026-01-01T00:00Z', now());
      INSERT INTO plan_prices VALUES ('basic', 1, 'network', 0.010), ('basic', 1, 'cpu', 0.05), ('basic', 1, 'disk_io', 0),
        ('basic', 1, 'memory', 0.0000001);
      INSERT INTO invoices (id, customer_id, period_start, period_end, state, currency, total, input_hash, lines_hash, computed_at)
        VALUES ('01920000-0000-7000-8000-000000000000', 'acme', '2026-09-01T00:00Z', '2026-10-01T00:00Z', 'draft', 'USD', 1,
          decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'), now());
      INSERT INTO invoice_lines (invoice_id, position, meter, description, unit, quantity, unit_price, amount, starts_at, ends_at,
          plan_id, plan_version, regions)
        SELECT id, 1, 'cpu', 'CPU', 'core-hour', 20, 0.05, 1, period_start, period_end, 'basic', 1, '[]' FROM invoices;
      UPDATE invoices SET state = 'final', number = 'INV-000001', finalized_at = now()`);
    await migratePostgres(url);
    const [row] = await db.selectFrom('plan_versions').selectAll().execute();
    if (row === undefined) throw new Error('the plan is gone');
    const rates = { cpuPerCoreHour: 0.05, memoryPerGbHour: 1e-7, diskIoPerGb: 0, networkPerGb: 0.01 };
    expect(ratesOf(toPlanVersion(row).content)).toEqual(rates);
    expect(await db.selectFrom('invoices').select(['period', 'state']).execute()).toEqual([
      { period: '2026-09', state: 'final' },
    ]);
    await expect(pool.query('UPDATE plan_versions SET version = 2')).rejects.toThrow('append-only');
    await expect(pool.query(`UPDATE invoices SET period = ''`)).rejects.toThrow('is final');
  } finally {
    await postgres.close();
  }
});
