import { beforeAll, describe, expect, it } from 'vitest';
import { NO_DETAILS } from '../../src/billing/billing-details.ts';
import { periodAt } from '../../src/billing/calendar.ts';
import { createCustomer, type CustomerRequest, updateCustomer } from '../../src/billing/customers.ts';
import { createDiscount, endDiscount } from '../../src/billing/plans/discounts.ts';
import { publishPlan } from '../../src/billing/plans/publish-plan.ts';
import { subscribe } from '../../src/billing/plans/subscribe.ts';
import { putExchangeRate } from '../../src/billing/rates/exchange-rates.ts';
import { putTaxRate } from '../../src/billing/rates/tax-rates.ts';
import { type CustomerTerms, readTerms } from '../../src/billing/terms.ts';
import { postgresForTest } from '../database.ts';
import { ACTOR, aStore, RATES } from './a-store.ts';
import { aCharge, aContent } from './plans/a-content.ts';

const store = aStore(await postgresForTest());
const SINCE = new Date('2026-01-01T00:00Z');
const SEPTEMBER = new Date('2026-09-15T00:00Z');

async function aCustomer(customerId: string, planId: string, change: Partial<CustomerRequest> = {}) {
  await createCustomer(store, { customerId, name: `${customerId} Ltd`, currency: 'USD', ...change }, ACTOR);
  await subscribe(store, { customerId, planId, startsAt: SINCE }, ACTOR);
}

async function termsOf(customerId: string, calendar = { timeZone: 'UTC', anchorDay: 1 }): Promise<CustomerTerms> {
  const all = await readTerms(store.db, [{ customerId, period: periodAt(SEPTEMBER, calendar) }]);
  const terms = all.get(customerId);
  if (terms === undefined || terms instanceof Error) throw terms ?? new Error('no terms');
  return terms;
}

function percentOff(discountId: string, customerId: string, validFrom: Date, validUntil?: Date) {
  const terms = { description: '', value: { case: 'percent', value: '10' }, chargeIds: [], order: 0 } as const;
  return createDiscount(store, { discountId, customerId, terms, validFrom, validUntil }, ACTOR);
}

beforeAll(async () => {
  await publishPlan(store, { planId: 'basic', currency: 'USD', rates: RATES, validFrom: SINCE }, ACTOR);
  await publishPlan(store, { planId: 'euro', currency: 'EUR', rates: RATES, validFrom: SINCE }, ACTOR);
  const fee = aCharge({ metric: '', model: { case: 'flatFee', value: { amount: '10', inAdvance: true } } });
  const content = aContent({ charges: [fee] });
  await publishPlan(store, { planId: 'fee', currency: 'USD', content, validFrom: SINCE }, ACTOR);
});

describe('the terms of a customer', () => {
  it('are its spans, with the metrics they name, and who buys', async () => {
    const details = {
      ...NO_DETAILS,
      legalName: 'Acme GmbH',
      addressLines: ['Am Markt 1'],
      country: 'DE',
      taxId: 'DE1',
    };
    await aCustomer('acme', 'basic', { details: { ...details, paymentTermsDays: 14 } });
    await subscribe(store, { customerId: 'acme', planId: 'fee', startsAt: new Date('2026-09-10T10:15:30Z') }, ACTOR);
    const terms = await termsOf('acme');
    const edges = terms.spans.map(({ planId, start, end }) => [planId, start.toISOString(), end.toISOString()]);
    expect(edges).toEqual([
      ['basic', '2026-09-01T00:00:00.000Z', '2026-09-10T10:15:30.000Z'],
      ['fee', '2026-09-10T10:15:30.000Z', '2026-10-01T00:00:00.000Z'],
    ]);
    expect(terms.spans[0]?.metrics.map(({ id }) => id)).toEqual(['cpu', 'memory', 'disk_io', 'network']);
    expect(terms.next.period.name).toBe('2026-10');
    expect(terms.next.spans).toMatchObject([{ planId: 'fee', end: new Date('2026-11-01T00:00Z') }]);
    expect(terms.buyer).toMatchObject({ name: 'Acme GmbH', taxId: 'DE1' });
    expect(terms).toMatchObject({ paymentTermsDays: 14, currency: 'USD', tax: { treatment: 'standard', rates: [] } });
  });

  it('follow the calendar of the customer', async () => {
    const calendar = { timeZone: 'Europe/Berlin', anchorDay: 31 };
    await aCustomer('berlin', 'basic', calendar);
    const [span] = (await termsOf('berlin', calendar)).spans;
    expect([span?.start, span?.end]).toEqual([new Date('2026-08-30T22:00Z'), new Date('2026-09-29T22:00Z')]);
  });

  it('have the discounts that hold at the start of the period', async () => {
    await aCustomer('less', 'basic');
    await percentOff('b', 'less', new Date('2026-09-01T00:00Z'));
    await percentOff('a', 'less', new Date('2026-08-15T00:00Z'), new Date('2026-09-01T00:00:01Z'));
    await percentOff('over', 'less', new Date('2026-08-15T00:00Z'), new Date('2026-09-01T00:00Z'));
    await percentOff('late', 'less', new Date('2026-09-01T00:00:01Z'));
    const terms = await termsOf('less');
    expect(terms.discounts.map(({ discountId }) => discountId)).toEqual(['a', 'b']);
    await endDiscount(store, { discountId: 'b', validUntil: new Date('2026-09-01T00:00:01Z') }, ACTOR);
    expect((await termsOf('less')).key).toBe(terms.key);
  });

  it.each([
    [
      { taxTreatment: 'reverse_charge', taxId: 'X1' },
      { treatment: 'reverse_charge', note: 'reverse charge' },
    ],
    [
      { taxTreatment: 'exempt', taxExemptReason: 'charity' },
      { treatment: 'exempt', note: 'charity' },
    ],
  ] as const)('say how it is taxed: %o', async (change, tax) => {
    await aCustomer(`taxed-${change.taxTreatment}`, 'basic', { details: { ...NO_DETAILS, ...change } });
    expect((await termsOf(`taxed-${change.taxTreatment}`)).tax).toEqual(tax);
  });

  it('have the tax rates of the last instant of the period, and none is an error', async () => {
    await aCustomer('de', 'basic', { details: { ...NO_DETAILS, taxRegion: 'DE' } });
    await expect(termsOf('de')).rejects.toMatchObject({ kind: 'failed_precondition', field: 'tax_region' });
    const put = (name: string, percent: string, validFrom: string) => {
      return putTaxRate(store, { region: 'DE', name, percent, validFrom: new Date(validFrom) }, ACTOR);
    };
    await put('VAT', '7', '2026-10-01T00:00Z');
    await expect(termsOf('de')).rejects.toMatchObject({ field: 'tax_region' });
    await put('VAT', '16', '2026-01-01T00:00Z');
    const before = await termsOf('de');
    await put('VAT', '19.0', '2026-09-30T23:59:59Z');
    await put('Levy', '1', '2026-01-01T00:00Z');
    await put('Levy', '0', '2026-09-01T00:00Z');
    const after = await termsOf('de');
    expect(after.tax).toMatchObject({ rates: [{ name: 'VAT', percent: { units: 19n, scale: 0 } }] });
    expect(after.key).not.toBe(before.key);
    await expect(put('VAT', '20', '2026-01-01T00:00Z')).rejects.toMatchObject({ kind: 'already_exists' });
    expect(await put('VAT', '16.00', '2026-01-01T00:00Z')).toMatchObject({ percent: { units: 16n, scale: 0 } });
  });

  it('have the latest exchange rate of the last 7 days, and none is an error', async () => {
    await aCustomer('foreign', 'euro');
    const put = (day: string, rate: string) => {
      const key = { fromCurrency: 'EUR', toCurrency: 'USD', day, source: 'ECB' };
      return putExchangeRate(store, { ...key, rate }, ACTOR);
    };
    await put('2026-09-22', '1.1');
    await put('2026-10-01', '1.2');
    await expect(termsOf('foreign')).rejects.toThrow('none from EUR to USD dated 2026-09-23 to 2026-09-30');
    await put('2026-09-23', '1.3');
    expect((await termsOf('foreign')).spans[0]?.exchange).toMatchObject({ day: '2026-09-23' });
    await put('2026-09-29', '1.25');
    expect((await termsOf('foreign')).spans[0]?.exchange).toEqual({
      fromCurrency: 'EUR',
      rate: { units: 125n, scale: 2 },
      day: '2026-09-29',
      source: 'ECB',
    });
    expect(await put('2026-09-29', '1.250')).toMatchObject({ rate: { units: 125n, scale: 2 } });
    await expect(put('2026-09-29', '1.26')).rejects.toMatchObject({ kind: 'already_exists' });
    await expect(put('2026-02-30', '1')).rejects.toMatchObject({ field: 'rate.day' });
  });

  it('differ in their key where anything does', async () => {
    await aCustomer('key', 'fee');
    const seen = [(await termsOf('key')).key];
    await subscribe(store, { customerId: 'key', planId: 'basic', startsAt: new Date('2026-11-01T00:00Z') }, ACTOR);
    expect((await termsOf('key')).key).toBe(seen[0]);
    const steps = [
      () => subscribe(store, { customerId: 'key', planId: 'basic', startsAt: new Date('2026-10-10T00:00Z') }, ACTOR),
      () => subscribe(store, { customerId: 'key', planId: 'basic', startsAt: new Date('2026-09-10T00:00Z') }, ACTOR),
      () => percentOff('key', 'key', SINCE),
      () => updateCustomer(store, { customerId: 'key', name: 'Other' }, ACTOR),
      () => updateCustomer(store, { customerId: 'key', details: { ...NO_DETAILS, paymentTermsDays: 1 } }, ACTOR),
    ];
    for (const step of steps) {
      await step();
      seen.push((await termsOf('key')).key);
    }
    expect(new Set(seen).size).toBe(seen.length);
  });

  it('of a thousand take as many queries as those of one, and one without holds up no other', async () => {
    const ids = Array.from({ length: 1000 }, (_, index) => `many-${index}`);
    const customers = ids.map((id) => ({ id, name: id, currency: 'USD', created_at: SINCE }));
    const subscriptions = ids.map((id) => ({ customer_id: id, plan_id: 'basic', starts_at: SINCE, created_at: SINCE }));
    await store.db.insertInto('customers').values(customers).execute();
    await store.db.insertInto('subscriptions').values(subscriptions).execute();
    let queries = 0;
    const counting = store.db.withPlugin({
      transformQuery({ node }) {
        queries++;
        return node;
      },
      transformResult: async ({ result }) => result,
    });
    const period = periodAt(SEPTEMBER, { timeZone: 'UTC', anchorDay: 1 });
    const read = async (some: readonly string[]) => {
      queries = 0;
      const terms = await readTerms(
        counting,
        some.map((customerId) => ({ customerId, period })),
      );
      return { terms, queries };
    };
    const one = await read(['many-0']);
    const all = await read(['nobody', ...ids.slice(1)]);
    expect(all.queries).toBe(one.queries);
    expect(all.terms.get('nobody')).toMatchObject({ kind: 'not_found' });
    expect([...all.terms.values()].filter((terms) => !(terms instanceof Error))).toHaveLength(999);
  });
});
