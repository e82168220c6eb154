import { beforeAll, describe, expect, it } from 'vitest';
import { listAudit } from '../../../src/audit/trail.ts';
import { createCustomer } from '../../../src/billing/customers.ts';
import { closePeriod } from '../../../src/billing/invoice/close-period.ts';
import { openPeriods } from '../../../src/billing/invoice/open-periods.ts';
import { parsePeriod } from '../../../src/billing/period.ts';
import { publishPlan } from '../../../src/billing/plans/publish-plan.ts';
import { type PriceSpan, priceSpans } from '../../../src/billing/plans/price-spans.ts';
import { readVersions } from '../../../src/billing/plans/read-versions.ts';
import { endSubscription, listSubscriptions, subscribe } from '../../../src/billing/plans/subscribe.ts';
import { postgresForTest } from '../../database.ts';
import { ACTOR, aStore, RATES, subscribeToBasic } from '../a-store.ts';

const store = aStore(await postgresForTest());

function start(customerId: string, planId: string, startsAt: string) {
  return subscribe(store, { customerId, planId, startsAt: new Date(startsAt) }, ACTOR);
}

async function spansOf(customerId: string, period: string): Promise<PriceSpan[]> {
  const subscriptions = await listSubscriptions(store.db, { customerId }, 10);
  const planIds = subscriptions.map(({ planId }) => planId);
  return priceSpans(parsePeriod(period), subscriptions, await readVersions(store.db, planIds));
}

beforeAll(async () => {
  await subscribeToBasic(store, 'acme');
  const validFrom = new Date('2026-08-01T00:00Z');
  await publishPlan(store, { planId: 'pro', currency: 'USD', rates: RATES, validFrom }, ACTOR);
  await publishPlan(store, { planId: 'euro', currency: 'EUR', rates: RATES, validFrom }, ACTOR);
});

describe('subscribing', () => {
  it('is done once, however often and at once it is asked for', async () => {
    const all = await Promise.all(Array.from({ length: 4 }, () => start('acme', 'pro', '2026-09-10T00:00Z')));
    expect(all[0]).toEqual({ customerId: 'acme', planId: 'pro', startsAt: new Date('2026-09-10T00:00Z') });
    const records = (await listAudit(store.db, undefined, 100)).filter((record) => record.detail.includes('"pro"'));
    expect(records).toMatchObject([{ action: 'customer.subscribed', subject: 'acme', actor: ACTOR }]);
  });

  it('splits the month between the plans', async () => {
    await start('acme', 'pro', '2026-09-10T00:00Z');
    const spans = await spansOf('acme', '2026-09');
    expect(spans.map(({ plan, end }) => [plan.planId, end.toISOString()])).toEqual([
      ['basic', '2026-09-10T00:00:00.000Z'],
      ['pro', '2026-10-01T00:00:00.000Z'],
    ]);
  });

  it.each([
    ['nobody', 'pro', '2026-09-10T00:00Z', 'not_found', 'customer_id'],
    ['acme', 'none', '2026-09-10T00:00Z', 'not_found', 'plan_id'],
    ['acme', '', '2026-09-10T00:00Z', 'invalid_argument', 'plan_id'],
    ['acme', 'pro', '2026-09-10T00:30:00.500Z', 'invalid_argument', 'starts_at'],
    ['acme', 'pro', '1999-01-01T00:00Z', 'invalid_argument', 'starts_at'],
    ['acme', 'pro', '2026-07-31T23:00Z', 'failed_precondition', 'starts_at'],
    ['acme', 'pro', '2026-01-01T00:00Z', 'failed_precondition', 'starts_at'],
  ])('%s to %s from %s is refused: %s', async (customerId, planId, startsAt, kind, field) => {
    await expect(start(customerId, planId, startsAt)).rejects.toMatchObject({ kind, field });
  });

  it('to two plans from the same instant is refused', async () => {
    await start('acme', 'pro', '2026-09-12T00:00Z');
    const message = 'plan_id: customer "acme" has plan "pro" from 2026-09-12T00:00:00.000Z, not "basic"';
    const second = start('acme', 'basic', '2026-09-12T00:00Z');
    await expect(second).rejects.toMatchObject({ kind: 'already_exists', message });
  });

  it('never changes time inside a final invoice, and opens months that it reaches into', async () => {
    await start('acme', 'basic', '2026-08-20T00:00Z');
    store.usage.add('acme', '2026-09-15T00:00Z');
    await closePeriod(store, '2026-09', AbortSignal.timeout(10_000));
    expect(await openPeriods(store)).not.toContain('2026-09');
    const inside = start('acme', 'basic', '2026-09-30T23:00Z');
    await expect(inside).rejects.toMatchObject({ kind: 'failed_precondition', field: 'starts_at' });
    await expect(inside).rejects.toThrow(
      'final invoice INV-000001, which covers 2026-09-01T00:00:00.000Z to 2026-10-01',
    );
    await start('acme', 'basic', '2026-10-01T00:00Z');
    const intoSeptember = start('acme', 'pro', '2026-08-21T00:00Z');
    await expect(intoSeptember).rejects.toMatchObject({ kind: 'failed_precondition', field: 'starts_at' });
    // Ends where the next one starts, before the final invoice begins.
    await start('acme', 'pro', '2026-08-10T00:00Z');
    await closePeriod(store, '2026-09', AbortSignal.timeout(10_000));
    expect(await openPeriods(store)).not.toContain('2026-09');
    await createCustomer(store, { customerId: 'late', name: 'Late Ltd', currency: 'USD' }, ACTOR);
    await start('late', 'basic', '2026-09-20T00:00Z');
    expect(await openPeriods(store)).toContain('2026-09');
    store.usage.add('late', '2026-09-21T00:00Z');
    expect(await closePeriod(store, '2026-09', AbortSignal.timeout(10_000))).toMatchObject({ finals: 1, closed: true });
  });
});

describe('ending a subscription', () => {
  it('leaves the time from that second on in no span, until the next one starts', async () => {
    await createCustomer(store, { customerId: 'leaves', name: 'Leaves Ltd', currency: 'USD' }, ACTOR);
    await start('leaves', 'basic', '2026-11-01T00:00Z');
    const endsAt = new Date('2026-11-10T10:15:30Z');
    const all = await Promise.all([1, 2].map(() => endSubscription(store, { customerId: 'leaves', endsAt }, ACTOR)));
    expect(all[1]).toEqual({ customerId: 'leaves', planId: '', startsAt: endsAt });
    await start('leaves', 'euro', '2026-11-20T00:00Z');
    const subscriptions = await listSubscriptions(store.db, { customerId: 'leaves' }, 10);
    expect(subscriptions.map(({ planId }) => planId)).toEqual(['basic', '', 'euro']);
    const spans = await spansOf('leaves', '2026-11');
    expect(spans.map(({ plan, start: from, end }) => [plan.planId, from.toISOString(), end.toISOString()])).toEqual([
      ['basic', '2026-11-01T00:00:00.000Z', '2026-11-10T10:15:30.000Z'],
      ['euro', '2026-11-20T00:00:00.000Z', '2026-12-01T00:00:00.000Z'],
    ]);
    const [second] = await listSubscriptions(store.db, { customerId: 'leaves', after: subscriptions[0] }, 1);
    expect(second).toEqual(subscriptions[1]);
    expect(await listSubscriptions(store.db, { customerId: 'leaves', planId: 'euro' }, 10)).toEqual([subscriptions[2]]);
    const records = (await listAudit(store.db, undefined, 100)).filter((each) => each.subject === 'leaves');
    expect(records.filter((each) => each.action === 'customer.unsubscribed')).toHaveLength(1);
  });

  it('is refused where there is none', async () => {
    await createCustomer(store, { customerId: 'never', name: 'Never Ltd', currency: 'USD' }, ACTOR);
    const ended = endSubscription(store, { customerId: 'never', endsAt: new Date('2026-11-10T00:00Z') }, ACTOR);
    await expect(ended).rejects.toMatchObject({ kind: 'failed_precondition', field: 'ends_at' });
  });
});
