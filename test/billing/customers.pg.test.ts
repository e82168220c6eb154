import { describe, expect, it } from 'vitest';
import { listAudit } from '../../src/audit/trail.ts';
import { NO_DETAILS } from '../../src/billing/billing-details.ts';
import {
  createCustomer,
  getCustomer,
  listCustomers,
  registeredAmong,
  updateCustomer,
} from '../../src/billing/customers.ts';
import { closePeriod } from '../../src/billing/invoice/close-period.ts';
import { postgresForTest } from '../database.ts';
import { ACTOR, aStore, subscribeToBasic } from './a-store.ts';

const store = aStore(await postgresForTest());
const ACME = { customerId: 'acme', name: 'Acme Ltd', currency: 'USD' };

describe('customers', () => {
  it('are registered once, however often and at once it is asked for', async () => {
    const all = await Promise.all(Array.from({ length: 4 }, () => createCustomer(store, ACME, ACTOR)));
    expect(new Set(all.map((customer) => JSON.stringify(customer))).size).toBe(1);
    expect(await createCustomer(store, ACME, ACTOR)).toEqual(all[0]);
    expect(await getCustomer(store.db, 'acme')).toEqual({
      ...ACME,
      timeZone: 'UTC',
      anchorDay: 1,
      details: NO_DETAILS,
      createdAt: new Date(store.clock.nowMs()),
      erasedAt: undefined,
    });
    const created = (await listAudit(store.db, undefined, 100)).filter((record) => record.subject === 'acme');
    expect(created).toMatchObject([
      {
        action: 'customer.created',
        actor: ACTOR,
        detail: '{"name":"Acme Ltd","currency":"USD","time_zone":"UTC","anchor_day":1}',
      },
    ]);
  });

  it.each([
    [{ name: 'Other' }, 'name: customer "acme" is registered with "Acme Ltd", not "Other"'],
    [{ currency: 'EUR' }, 'currency: customer "acme" is registered with "USD", not "EUR"'],
    [{ timeZone: 'Asia/Tokyo' }, 'time_zone: customer "acme" is registered with "UTC", not "Asia/Tokyo"'],
    [{ anchorDay: 31 }, 'anchor_day: customer "acme" is registered with "1", not "31"'],
    [{ details: { ...NO_DETAILS, email: 'a@b' } }, 'details: customer "acme" is registered with "others", not "these"'],
  ])('keep what they were registered with: %j', async (change, message) => {
    await createCustomer(store, ACME, ACTOR);
    const other = createCustomer(store, { ...ACME, ...change }, ACTOR);
    await expect(other).rejects.toMatchObject({ kind: 'already_exists', message });
  });

  it.each([
    [{ customerId: '' }, 'customer_id', 'customer_id is empty'],
    [{ customerId: 'default-customer' }, 'customer_id', 'customer_id: "default-customer" stands for no customer'],
    [{ customerId: 'a\u0000b' }, 'customer_id', String.raw`customer_id: "a\u0000b" has a control character at 1`],
    [{ customerId: 'ü'.repeat(65) }, 'customer_id', 'customer_id is 130 bytes long, more than 128'],
    [{ name: '' }, 'name', 'name is empty'],
    [{ name: 'x'.repeat(401) }, 'name', 'name is 401 bytes long, more than 400'],
    [{ currency: 'usd' }, 'currency', 'currency: "usd" is no active currency of ISO 4217, e.g. "USD"'],
    [{ timeZone: '+01:00' }, 'time_zone', 'time_zone: "+01:00" is no time zone of IANA, e.g. "Europe/Berlin"'],
    [{ anchorDay: 32 }, 'anchor_day', 'anchor_day: 32 is not from 1 to 31'],
    [{ details: { ...NO_DETAILS, country: 'de' } }, 'details.country', expect.stringContaining('"de" is no country')],
    [
      { details: { ...NO_DETAILS, taxTreatment: 'exempt' as const } },
      'details.tax_exempt_reason',
      'details.tax_exempt_reason: is missing: invoices show it',
    ],
    [
      { details: { ...NO_DETAILS, taxExemptReason: 'charity' } },
      'details.tax_exempt_reason',
      'details.tax_exempt_reason: has no place where tax is charged',
    ],
    [
      { details: { ...NO_DETAILS, taxTreatment: 'reverse_charge' as const } },
      'details.tax_id',
      'details.tax_id: is missing: a reverse charge needs it',
    ],
    [
      { details: { ...NO_DETAILS, paymentTermsDays: 366 } },
      'details.payment_terms_days',
      'details.payment_terms_days: 366 is not from 0 to 365',
    ],
  ])('are refused with %j', async (change, field, message) => {
    const refused = createCustomer(store, { ...ACME, customerId: 'refused', ...change }, ACTOR);
    await expect(refused).rejects.toMatchObject({ kind: 'invalid_argument', field, message });
  });

  it('that nobody registered are not found', async () => {
    await expect(getCustomer(store.db, 'nobody')).rejects.toMatchObject({ kind: 'not_found', field: 'customer_id' });
    await createCustomer(store, ACME, ACTOR);
    expect(await registeredAmong(store.db, ['nobody', 'acme'])).toEqual(new Set(['acme']));
    expect(await registeredAmong(store.db, [])).toEqual(new Set());
  });

  it('are listed by the bytes of their ids, page by page', async () => {
    for (const customerId of ['Zeta', 'b-1', 'b', 'été']) await createCustomer(store, { ...ACME, customerId }, ACTOR);
    const ids: string[] = [];
    for (
      let page = await listCustomers(store.db, '', 2);
      page.length > 0;
      page = await listCustomers(store.db, ids.at(-1) ?? '', 2)
    ) {
      ids.push(...page.map((customer) => customer.customerId));
    }
    expect(ids).toEqual(['Zeta', 'acme', 'b', 'b-1', 'été']);
  });
});

describe('changing a customer', () => {
  it('changes what is named, replaces details as a whole, and says what in the trail, without the values', async () => {
    const details = { ...NO_DETAILS, taxTreatment: 'exempt' as const, taxExemptReason: 'charity', email: 'a@b' };
    await createCustomer(store, { customerId: 'moves', name: 'Moves', currency: 'EUR', details }, ACTOR);
    const moved = { timeZone: 'europe/berlin', anchorDay: 15, details: { ...NO_DETAILS, taxRegion: 'DE' } };
    const after = await updateCustomer(store, { customerId: 'moves', ...moved }, ACTOR);
    expect(after).toMatchObject({ name: 'Moves', timeZone: 'Europe/Berlin', anchorDay: 15, details: moved.details });
    expect(await updateCustomer(store, { customerId: 'moves', name: 'Moves', ...moved }, ACTOR)).toEqual(after);
    expect(await getCustomer(store.db, 'moves')).toEqual(after);
    const trail = (await listAudit(store.db, undefined, 1000)).filter((record) => record.subject === 'moves');
    expect(trail.map((record) => record.action)).toEqual(['customer.updated', 'customer.created']);
    const changed = { changed: ['time_zone', 'anchor_day', 'details'], time_zone: 'Europe/Berlin', anchor_day: 15 };
    expect(JSON.parse(trail[0]?.detail ?? '')).toEqual(changed);
    await expect(updateCustomer(store, { customerId: 'no-one', name: 'X' }, ACTOR)).rejects.toMatchObject({
      kind: 'not_found',
    });
  });

  it('moves its calendar only while nothing was invoiced', async () => {
    await subscribeToBasic(store, 'billed');
    store.usage.add('billed', '2026-09-15T00:00Z');
    await closePeriod(store, '2026-09', AbortSignal.timeout(10_000));
    for (const change of [{ timeZone: 'Asia/Tokyo' }, { anchorDay: 2 }]) {
      await expect(updateCustomer(store, { customerId: 'billed', ...change }, ACTOR)).rejects.toMatchObject({
        kind: 'failed_precondition',
        message: expect.stringContaining('has a final invoice of 2026-09'),
      });
    }
    const same = { customerId: 'billed', timeZone: 'UTC', anchorDay: 1, name: 'Billed AG' };
    expect(await updateCustomer(store, same, ACTOR)).toMatchObject({ name: 'Billed AG', timeZone: 'UTC' });
  });

  it('forgets the periods of its old calendar', async () => {
    await createCustomer(store, { customerId: 'early', name: 'Early', currency: 'USD' }, ACTOR);
    const [period_start, period_end] = [new Date('2026-09-01T00:00Z'), new Date('2026-10-01T00:00Z')];
    const row = { customer_id: 'early', period_start, period_end, period: '2026-09' };
    await store.db.insertInto('billing_periods').values(row).execute();
    const periods = () =>
      store.db.selectFrom('billing_periods').select('period').where('customer_id', '=', 'early').execute();
    await updateCustomer(store, { customerId: 'early', name: 'Earlier' }, ACTOR);
    expect(await periods()).toHaveLength(1);
    await updateCustomer(store, { customerId: 'early', anchorDay: 2 }, ACTOR);
    expect(await periods()).toEqual([]);
  });
});
