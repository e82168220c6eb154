import { describe, expect, it } from 'vitest';
import { listAudit } from '../../src/audit/trail.ts';
import { createCustomer, getCustomer, listCustomers, registeredAmong } from '../../src/billing/customers.ts';
import { postgresForTest } from '../database.ts';
import { ACTOR, aStore } from './a-store.ts';

const store = aStore(await postgresForTest());
const ACME = { customerId: 'acme', name: 'Acme Ltd', currency: 'USD' };

describe('customers', () => {
  it('are registered once, however often and at once it is asked for', async () => {
    const all = await Promise.all(Array.from({ length: 4 }, () => createCustomer(store, ACME, ACTOR)));
    expect(new Set(all.map((customer) => JSON.stringify(customer))).size).toBe(1);
    expect(await createCustomer(store, ACME, ACTOR)).toEqual(all[0]);
    expect(await getCustomer(store.db, 'acme')).toEqual({ ...ACME, createdAt: new Date(store.clock.nowMs()) });
    const created = (await listAudit(store.db, undefined, 100)).filter((record) => record.subject === 'acme');
    expect(created).toMatchObject([
      { action: 'customer.created', actor: ACTOR, detail: '{"name":"Acme Ltd","currency":"USD"}' },
    ]);
  });

  it.each([
    [{ name: 'Other' }, 'name: customer "acme" is registered with "Acme Ltd", not "Other"'],
    [{ currency: 'EUR' }, 'currency: customer "acme" is registered with "USD", not "EUR"'],
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
  ])('are refused with %j', async (change, field, message) => {
    const refused = createCustomer(store, { ...ACME, ...change }, ACTOR);
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
