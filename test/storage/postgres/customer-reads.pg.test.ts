import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { getCustomer, listCustomers } from '../../../src/billing/customers.ts';
import { listPayments } from '../../../src/billing/invoice/payments.ts';
import { getCreditNote, listCreditNotes } from '../../../src/billing/invoice/read-credit-notes.ts';
import { getInvoice, listInvoices } from '../../../src/billing/invoice/read-invoices.ts';
import { readStoredInvoice } from '../../../src/billing/proof/stored-invoice.ts';
import { readTerms } from '../../../src/billing/terms.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { customerReads } from '../../../src/storage/postgres/customer-reads.ts';
import { postgresForTest } from '../../database.ts';

const { pool, db } = await postgresForTest();
const ACME = '00000000-0000-0000-0000-00000000000a';
const OTHER = '00000000-0000-0000-0000-00000000000b';
/** An id that would end the text that it is quoted in. */
const ODD = `o'dd"\\'; RESET ROLE; --`;

/** A row in every table that customers read, as no writer would make them: without what guards writes. */
async function fill(customerId: string, id: string): Promise<void> {
  const client = await pool.connect();
  const run = (text: string, values: unknown[]): Promise<unknown> => client.query(text, values);
  await client.query('SET session_replication_role = replica');
  await run(`INSERT INTO customers (id, name, currency, created_at) VALUES ($1, 'n', 'USD', now())`, [customerId]);
  await run(
    `INSERT INTO plan_versions (plan_id, version, currency, valid_from, published_at, content)
     VALUES ('plan of ' || $1, 1, 'USD', 'epoch', now(), '{}')`,
    [customerId],
  );
  await run(`INSERT INTO subscriptions VALUES ($1, 'epoch', 'plan of ' || $1, now())`, [customerId]);
  await run(`INSERT INTO discounts VALUES ($1, $1, '{}', 'epoch', NULL, now())`, [customerId]);
  await run(`INSERT INTO manual_lines VALUES ($2, $1, 'd', 1, 'u', 1, '2026-01-02', true, 'a', now())`, [
    customerId,
    id,
  ]);
  await run(
    `INSERT INTO invoices (id, customer_id, period_start, period_end, state, number, currency, total, input_hash, lines_hash,
       computed_at, finalized_at, period)
     VALUES ($2, $1, '2026-01-01', '2026-02-01', 'final', 'INV ' || $1, 'USD', 1, sha256('x'), sha256('x'), now(), now(), '2026-01')`,
    [customerId, id],
  );
  await run(
    `INSERT INTO invoice_lines (invoice_id, position, meter, description, unit, quantity, unit_price, amount, starts_at, ends_at, regions)
     VALUES ($1, 1, 'cpu', 'd', 'u', 1, 1, 1, '2026-01-01', '2026-02-01', '[]')`,
    [id],
  );
  await run(`INSERT INTO invoice_taxes VALUES ($1, 1, 't', 1, 1, 1, '')`, [id]);
  await run(`INSERT INTO payments VALUES ($1, $1, 1, now(), 'm', 'r', NULL, 'a', now())`, [id]);
  await run(`INSERT INTO credit_notes VALUES ($2, 'CN ' || $1, $2, $1, 'USD', 'r', 0, 1, 'a', now())`, [
    customerId,
    id,
  ]);
  await run(`INSERT INTO credit_note_lines VALUES ($1, 1, 1, 'd', 1)`, [id]);
  await run(`INSERT INTO credit_note_taxes VALUES ($1, 1, 't', 1, 1, 1, '')`, [id]);
  await run(
    `INSERT INTO billing_periods (customer_id, period_start, period_end, period) VALUES ($1, '2026-01-01', '2026-02-01', '2026-01')`,
    [customerId],
  );
  await client.query('RESET session_replication_role');
  client.release();
}

await fill('acme', ACME);
await fill('other', OTHER);
await fill(ODD, '00000000-0000-0000-0000-00000000000c');

const OF_CUSTOMERS = [
  'billing_periods',
  'credit_note_lines',
  'credit_note_taxes',
  'credit_notes',
  'customers',
  'discounts',
  'invoice_lines',
  'invoice_taxes',
  'invoices',
  'manual_lines',
  'payments',
  'plan_versions',
  'subscriptions',
];
const SHARED = ['exchange_rates', 'metrics', 'seller', 'tax_rates'];

async function count(table: string, as = customerReads(pool, 'acme')): Promise<number> {
  const { rows } = await sql<{ count: string }>`SELECT count(*) FROM ${sql.table(table)}`.execute(as);
  return Number(rows[0]?.count);
}

describe('PostgreSQL, read as a customer', () => {
  it('shows of every table the rows of that customer alone, or nothing at all', async () => {
    const { rows: tables } = await sql<{ name: string }>`SELECT table_name AS name FROM information_schema.tables
      WHERE table_schema = 'public' AND table_type = 'BASE TABLE'`.execute(db);
    expect(tables.length).toBeGreaterThan(OF_CUSTOMERS.length + SHARED.length);
    for (const { name } of tables) {
      if (OF_CUSTOMERS.includes(name)) {
        expect([name, await count(name, db), await count(name)]).toEqual([name, 3, 1]);
        expect([name, await count(name, customerReads(pool, ODD))]).toEqual([name, 1]);
        expect([name, await count(name, customerReads(pool, ''))]).toEqual([name, 0]);
        expect([name, await count(name, customerReads(pool, 'acm%'))]).toEqual([name, 0]);
      } else if (!SHARED.includes(name)) {
        await expect(count(name), name).rejects.toThrow('permission denied');
      }
    }
  });

  it('writes nothing, and does not become somebody else', async () => {
    const acme = customerReads(pool, 'acme');
    await expect(acme.deleteFrom('discounts').execute()).rejects.toThrow(/read-only|permission denied/);
    const granted = await sql`SELECT 1 FROM information_schema.role_table_grants
      WHERE grantee = 'meterd_customer' AND privilege_type <> 'SELECT'`.execute(db);
    expect(granted.rows).toEqual([]);
  });

  it('gives each connection back as it came, whatever happened on it', async () => {
    const whoAmI = sql<{ who: string; customer: string | null }>`SELECT current_user AS who,
      current_setting('meterd.customer_id', true) AS customer`;
    const [owner] = (await whoAmI.execute(db)).rows;
    const outcomes = await Promise.allSettled(
      Array.from({ length: 60 }, async (_, i) => {
        const customerId = ['acme', 'other', ODD][i % 3] ?? '';
        const as = customerReads(pool, customerId);
        if (i % 5 === 0) return sql`SELECT 1 / 0`.execute(as);
        if (i % 5 === 1) return expect((await whoAmI.execute(db)).rows[0]?.who).toBe(owner?.who);
        const [seen] = (await whoAmI.execute(as)).rows;
        return expect(seen).toEqual({ who: 'meterd_customer', customer: customerId });
      }),
    );
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(12);
    for (const each of outcomes)
      if (each.status === 'rejected') expect(String(each.reason)).toContain('division by zero');
    expect(pool.totalCount).toBeLessThanOrEqual(10);
    expect(await count('invoices', db)).toBe(3);
  });
});

describe("what methods read, with somebody else's id and without the code's own check", () => {
  const acme = customerReads(pool, 'acme');

  it('finds no customer, invoice, credit note, payment or terms of another', async () => {
    await expect(getCustomer(acme, 'other')).rejects.toMatchObject({ kind: 'not_found' });
    for (const id of [OTHER, 'INV other'])
      await expect(getInvoice(acme, id)).rejects.toMatchObject({ kind: 'not_found' });
    await expect(readStoredInvoice(acme, OTHER)).rejects.toMatchObject({ kind: 'not_found' });
    await expect(getCreditNote(acme, OTHER)).rejects.toMatchObject({ kind: 'not_found' });
    const payments = listPayments({ db: acme, clock: systemClock }, OTHER, undefined, 10);
    await expect(payments).rejects.toMatchObject({ kind: 'not_found' });
    expect(await listInvoices(acme, { customerId: 'other' }, 10)).toEqual([]);
    expect(await listCreditNotes(acme, { customerId: 'other' }, 10)).toEqual([]);
    const period = { name: '2026-01', start: new Date('2026-01-01'), end: new Date('2026-02-01') };
    expect([...(await readTerms(acme, [{ customerId: 'other', period }])).values()]).toEqual([expect.any(Error)]);
  });

  it('finds what is its own, also where no customer is named', async () => {
    expect(await getCustomer(acme, 'acme')).toMatchObject({ customerId: 'acme' });
    expect(await getInvoice(acme, 'INV acme')).toMatchObject({ invoiceId: ACME, amountPaid: '1', amountCredited: '1' });
    expect((await listInvoices(acme, {}, 10)).map(({ customerId }) => customerId)).toEqual(['acme']);
    expect((await listCreditNotes(acme, {}, 10)).map(({ creditNoteId }) => creditNoteId)).toEqual([ACME]);
    expect((await listCustomers(acme, '', 10)).map(({ customerId }) => customerId)).toEqual(['acme']);
  });
});
