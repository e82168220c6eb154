import { type Kysely, sql } from 'kysely';
import { expect, it } from 'vitest';
import { createCustomer, updateCustomer } from '../../../src/billing/customers.ts';
import { closePeriod } from '../../../src/billing/invoice/close-period.ts';
import { addManualLine } from '../../../src/billing/invoice/manual-lines.ts';
import { noteDuePeriods } from '../../../src/billing/invoice/open-periods.ts';
import { lockPrices } from '../../../src/billing/store.ts';
import type { Database } from '../../../src/storage/postgres/schema.ts';
import { postgresForTest } from '../../database.ts';
import { ACTOR, aStore, subscribeSince } from '../a-store.ts';

const postgres = await postgresForTest();
const { db } = postgres;
const store = aStore(postgres);
const SOON = () => AbortSignal.timeout(20_000);
const SEPTEMBER = new Date('2026-09-01T00:00:00Z');

/** Resolves when somebody waits for a lock of somebody else, or nobody is left who might. */
async function someoneWaits(meanwhile: Promise<unknown>): Promise<void> {
  const ended = meanwhile.then(
    () => true,
    () => true,
  );
  for (;;) {
    const { rows } = await sql`SELECT FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'`.execute(db);
    if (rows.length > 0 || (await Promise.race([ended, Promise.resolve(false)]))) return;
  }
}

async function startsOf(of: Kysely<Database>, customerId: string): Promise<string[]> {
  const query = of.selectFrom('billing_periods').select('period_start').where('customer_id', '=', customerId);
  const rows = await query.orderBy('period_start').execute();
  return rows.map((row) => row.period_start.toISOString().slice(0, 10));
}

it('a month is over as soon as it is for one customer, though it has manual lines only', async () => {
  await subscribeSince(store, SEPTEMBER, 'anchored-later');
  await updateCustomer(store, { customerId: 'anchored-later', anchorDay: 15 }, ACTOR);
  await createCustomer(store, { customerId: 'lines-only', name: 'Lines', currency: 'USD' }, ACTOR);
  const line = { customerId: 'lines-only', description: 'Set-up', quantity: '1', unit: '', unitPrice: '100' };
  const at = new Date('2026-09-05T00:00:00Z');
  await addManualLine(store, { ...line, at, taxable: true, idempotencyKey: 'set-up' }, ACTOR);
  expect(await closePeriod(store, '2026-09', SOON())).toMatchObject({ finals: 1, failed: 0, closed: false });
});

it('a calendar does not move behind the back of whoever makes the first draft', async () => {
  const customerId = 'drafted';
  await subscribeSince(store, SEPTEMBER, customerId);
  await noteDuePeriods(store, SOON(), customerId);
  const drafting = await db.startTransaction().execute();
  await sql`SELECT FROM billing_periods WHERE customer_id = ${customerId} FOR UPDATE`.execute(drafting);
  const moving = updateCustomer(store, { customerId, anchorDay: 15 }, ACTOR);
  await someoneWaits(moving);
  await sql`INSERT INTO invoices
      (id, customer_id, period_start, period_end, period, state, currency, total, input_hash, lines_hash, computed_at)
    VALUES (gen_random_uuid(), ${customerId}, '2026-09-01Z', '2026-10-01Z', '2026-09', 'draft', 'USD', 1,
      sha256(''), sha256(''), now())`.execute(drafting);
  await drafting.commit().execute();
  await expect(moving).rejects.toThrow('has a draft invoice of 2026-09');
  expect(await startsOf(db, customerId)).toEqual(['2026-09-01']);
});

it('periods of a calendar that moves meanwhile are not noted beside those of the new one', async () => {
  const customerId = 'moved';
  await subscribeSince(store, SEPTEMBER, customerId);
  const moving = await db.startTransaction().execute();
  await lockPrices(moving);
  await sql`UPDATE customers SET anchor_day = 8 WHERE id = ${customerId}`.execute(moving);
  const noting = noteDuePeriods(store, SOON(), customerId);
  await someoneWaits(noting);
  await moving.commit().execute();
  await noting;
  expect(await startsOf(db, customerId)).toEqual(['2026-08-08', '2026-09-08']);
});
