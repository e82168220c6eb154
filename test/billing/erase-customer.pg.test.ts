import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { eraseKeysOf } from '../../src/access/erase-keys.ts';
import { eraseSecretsOf } from '../../src/access/secrets/secret-store.ts';
import { KeyStore } from '../../src/access/key-store.ts';
import { createCustomer, getCustomer, updateCustomer } from '../../src/billing/customers.ts';
import { eraseCustomer, type EraseStore, listErasures } from '../../src/billing/erase-customer.ts';
import { closePeriod } from '../../src/billing/invoice/close-period.ts';
import { addManualLine, removeManualLine } from '../../src/billing/invoice/manual-lines.ts';
import { earliestUnsettled } from '../../src/billing/invoice/unsettled.ts';
import { createDiscount } from '../../src/billing/plans/discounts.ts';
import { endSubscription, subscribe } from '../../src/billing/plans/subscribe.ts';
import { postgresForTest } from '../database.ts';
import { ACTOR, aStore, subscribeSince } from './a-store.ts';

const postgres = await postgresForTest();
const { db } = postgres;
const { signal } = new AbortController();
const store = aStore(postgres);
const keys = new KeyStore(db, store.clock);

/** Usage is one row until it is erased. */
function erasing(usage: Record<string, number>) {
  const left = new Map(Object.entries(usage));
  const state = { failing: false, erased: 0 };
  const eraseStore: EraseStore = {
    ...store,
    countUsage: async () => Object.fromEntries(left),
    eraseUsage: async (_, rollupEnded) => {
      await rollupEnded();
      if (state.failing) throw new Error('killed');
      state.erased++;
      left.clear();
    },
    eraseKeys: eraseKeysOf,
    eraseSecrets: eraseSecretsOf,
  };
  const erase = (customerId: string) => eraseCustomer(eraseStore, { customerId, reason: 'it left' }, ACTOR, signal);
  return { erase, state, left };
}

/** One that had a plan for September, and whose September is over and settled. */
async function aFormerCustomer(): Promise<string> {
  const customerId = randomUUID();
  await subscribeSince(store, new Date('2026-09-01T00:00:00Z'), customerId);
  await endSubscription(store, { customerId, endsAt: new Date('2026-10-01T00:00:00Z') }, ACTOR);
  store.usage.add(customerId, '2026-09-10T10:00:00Z');
  await closePeriod(store, '2026-09', signal);
  return customerId;
}

describe('eraseCustomer', () => {
  it('removes usage, keys, discounts and names, keeps invoices and books, and says so', async () => {
    const customerId = await aFormerCustomer();
    const at = new Date('2026-09-01T00:00:00Z');
    const discount = { id: randomUUID(), customer_id: customerId, terms: '{}', valid_from: at, valid_until: null };
    await db
      .insertInto('discounts')
      .values({ ...discount, created_at: at })
      .execute();
    const collector = { name: 'k', role: 'collector', regions: ['*'], backfill: false } as const;
    const alone = await keys.create({ ...collector, customerIds: [customerId, customerId] }, ACTOR);
    const shared = await keys.create({ ...collector, customerIds: [customerId, 'other'] }, ACTOR);
    const anybody = await keys.create({ ...collector, customerIds: [] }, ACTOR);
    const { erase } = erasing({ windows: 3 });
    const receipt = await erase(customerId);
    expect(receipt).toMatchObject({ customerId, reason: 'it left', requestedBy: ACTOR });
    expect(receipt.completedAt).toEqual(new Date(store.clock.nowMs()));
    expect(receipt.removed).toEqual({ windows: 3, api_keys: 1, discounts: 1, 'names in customers': 1 });
    expect(receipt.kept).toMatchObject({ invoices: 1, subscriptions: 2, ledger_postings: 1 });
    expect(await getCustomer(db, customerId)).toMatchObject({ name: '', erasedAt: new Date(store.clock.nowMs()) });
    expect(await keys.find(alone.key.keyId)).toBeUndefined();
    expect(await keys.find(shared.key.keyId)).toMatchObject({ customerIds: ['other'] });
    expect(await keys.find(anybody.key.keyId)).toMatchObject({ customerIds: [] });
    expect((await listErasures(db, undefined, 1))[0]).toEqual(receipt);
    const audit = await db.selectFrom('audit_records').select('action').where('subject', '=', customerId).execute();
    expect(audit.map(({ action }) => action).slice(-2)).toEqual(['erasure.requested', 'customer.erased']);
  });

  it('leaves nothing to agree with: no plan, discount, line or change', async () => {
    const customerId = await aFormerCustomer();
    await erasing({}).erase(customerId);
    const at = new Date('2026-11-01T00:00:00Z');
    const terms = { description: '', value: { case: 'percent', value: '10' }, chargeIds: [], order: 1 } as const;
    const discount = { discountId: randomUUID(), customerId, terms, validFrom: at, validUntil: undefined };
    const line = { customerId, description: 'Set-up', quantity: '1', unit: '', unitPrice: '1', at, taxable: true };
    const asked = [
      subscribe(store, { customerId, planId: 'basic', startsAt: at }, ACTOR),
      createDiscount(store, discount, ACTOR),
      addManualLine(store, { ...line, idempotencyKey: randomUUID() }, ACTOR),
      updateCustomer(store, { customerId, name: 'Somebody' }, ACTOR),
    ];
    for (const { status, reason } of (await Promise.allSettled(asked)).map((each) => ({
      reason: undefined,
      ...each,
    }))) {
      expect([status, reason]).toMatchObject([
        'rejected',
        { kind: 'failed_precondition', field: 'customer_id', message: expect.stringContaining('was erased at') },
      ]);
    }
  });

  it('answers the same receipt again while nothing came since, and another once something did', async () => {
    const customerId = await aFormerCustomer();
    const { erase, left, state } = erasing({ windows: 1 });
    const receipt = await erase(customerId);
    expect(await erase(customerId)).toEqual(receipt);
    expect(state.erased).toBe(1);
    left.set('windows', 2);
    const second = await erase(customerId);
    expect(second.erasureId).not.toBe(receipt.erasureId);
    expect(second.removed).toEqual({ windows: 2 });
  });

  it('goes on with the erasure that did not come to its end', async () => {
    const customerId = await aFormerCustomer();
    const { erase, state } = erasing({ windows: 1 });
    state.failing = true;
    await expect(erase(customerId)).rejects.toThrow('killed');
    const [open] = await listErasures(db, undefined, 1);
    expect(open).toMatchObject({ customerId, completedAt: undefined });
    expect((await getCustomer(db, customerId)).erasedAt).toBeUndefined();
    const again = subscribe(store, { customerId, planId: 'basic', startsAt: new Date('2026-11-01T00:00:00Z') }, ACTOR);
    await expect(again, 'what it agrees to now would never be billed').rejects.toThrow(
      'is being erased since 2026-10-11',
    );
    state.failing = false;
    expect(await erase(customerId)).toMatchObject({ erasureId: open?.erasureId, removed: { windows: 1 } });
  });

  it('is refused while a plan holds, ended in the running period, or a period is not settled', async () => {
    const customerId = randomUUID();
    await subscribeSince(store, new Date('2026-09-01T00:00:00Z'), customerId);
    const { erase, state } = erasing({ windows: 1 });
    const refused = { kind: 'failed_precondition', field: 'customer_id' };
    await expect(erase(customerId)).rejects.toMatchObject(refused);
    const endsAt = new Date('2026-10-05T00:00:00Z');
    await endSubscription(store, { customerId, endsAt }, ACTOR);
    await expect(erase(customerId)).rejects.toThrow('let the period end');
    const settled = await aFormerCustomer();
    await db.updateTable('billing_periods').set({ settled: false }).where('customer_id', '=', settled).execute();
    await expect(erase(settled)).rejects.toThrow('not settled, 2026-09');
    expect(state.erased).toBe(0);
  });

  it('is refused while a manual line waits for an invoice, of whatever day it is', async () => {
    const customerId = await aFormerCustomer();
    const { erase, state } = erasing({ windows: 1 });
    const line = { customerId, description: 'Set-up', quantity: '1', unit: '', unitPrice: '100', taxable: true };
    // Its own period is settled: the line waits for the one that runs.
    const late = { ...line, at: new Date('2026-09-20T00:00:00Z'), idempotencyKey: randomUUID() };
    const { manualLineId } = await addManualLine(store, late, ACTOR);
    await expect(erase(customerId)).rejects.toThrow('has a manual line that is not billed yet');
    await removeManualLine(store, manualLineId, ACTOR);
    await erase(customerId);
    expect(state.erased).toBe(1);
  });

  it('erases usage of one that nobody registered, and knows nobody who has nothing', async () => {
    const customerId = randomUUID();
    expect(await erasing({ windows: 1 }).erase(customerId)).toMatchObject({ removed: { windows: 1 }, kept: {} });
    await expect(erasing({}).erase(randomUUID())).rejects.toMatchObject({ kind: 'not_found' });
  });

  it('erases one that was registered and never billed', async () => {
    const customerId = randomUUID();
    await createCustomer(store, { customerId, name: 'Somebody', currency: 'EUR' }, ACTOR);
    expect(await erasing({}).erase(customerId)).toMatchObject({ removed: { 'names in customers': 1 } });
  });
});

describe('earliestUnsettled', () => {
  it('is the start of the oldest period that is not settled', async () => {
    await db.updateTable('billing_periods').set({ settled: true }).execute();
    await subscribeSince(store, new Date('2026-07-15T00:00:00Z'), randomUUID());
    expect(await earliestUnsettled(store, signal)).toEqual(new Date('2026-07-01T00:00:00Z'));
  });
});
