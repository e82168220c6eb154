import { type Arbitrary, array, assert, asyncProperty, constantFrom, integer, record, tuple } from 'fast-check';
import { expect, it } from 'vitest';
import { createCustomer } from '../../../src/billing/customers.ts';
import { closePeriod } from '../../../src/billing/invoice/close-period.ts';
import { closeCustomer } from '../../../src/billing/invoice/closings.ts';
import { openPeriods } from '../../../src/billing/invoice/open-periods.ts';
import { getInvoice, listInvoices } from '../../../src/billing/invoice/read-invoices.ts';
import { voidInvoice } from '../../../src/billing/invoice/void-invoice.ts';
import { subscribe } from '../../../src/billing/plans/subscribe.ts';
import { postgresForTest } from '../../database.ts';
import { ACTOR, aStore, CORE_HOUR_NANOS, publishContent } from '../a-store.ts';
import { aCharge, aContent } from '../plans/a-content.ts';

const postgres = await postgresForTest();
const FIRST = new Date('2026-01-01T00:00:00Z');
/** Nothing is used in the last one: it bills what came after all others were closed. */
const MONTHS = ['2026-01', '2026-02', '2026-03', '2026-04'] as const;
let made = 0;

const tiers = [
  { upTo: '100', unitPrice: '1.00', flatAmount: '5.00' },
  { upTo: '', unitPrice: '0.333', flatAmount: '' },
];
const percent = { description: '', value: { case: 'percent', value: '7.5' }, chargeIds: [], order: 1 } as const;
const store = aStore(postgres);
const allowances = [{ metric: 'cpu', quantity: '31' }];
const graduated = aCharge({ model: { case: 'graduated', value: { tiers } } });
const packages = aCharge({ model: { case: 'packagePrice', value: { size: '7', price: '2.5' } }, cap: '90' });
const plans = {
  tiered: aContent({ charges: [graduated], allowances, discounts: [percent] }),
  packaged: aContent({ charges: [packages], minimum: '20' }),
};
for (const [planId, content] of Object.entries(plans))
  await publishContent(store, { planId, currency: 'EUR', content });

/** An hour's usage in a month, on a day of 28, that comes before the closing of a month from its own on. */
const used = record({
  month: integer({ min: 0, max: 2 }),
  day: integer({ min: 1, max: 28 }),
  coreHours: integer({ min: 1, max: 300 }),
  region: constantFrom('eu', 'us'),
  comes: integer({ min: 0, max: 3 }),
});
type Used = typeof used extends Arbitrary<infer T> ? T : never;

/** When the customer changes to the other plan: days after the first of January. */
const changes = array(integer({ min: 1, max: 110 }), { maxLength: 3 });

async function aCustomer(changeDays: readonly number[]): Promise<string> {
  const customerId = `customer-${++made}`;
  await createCustomer(store, { customerId, name: customerId, currency: 'EUR' }, ACTOR);
  const days = [0, ...new Set(changeDays)].toSorted((a, b) => a - b);
  for (const [index, day] of days.entries()) {
    const startsAt = new Date(FIRST.getTime() + day * 86_400_000);
    await subscribe(store, { customerId, planId: index % 2 === 0 ? 'tiered' : 'packaged', startsAt }, ACTOR);
  }
  return customerId;
}

/** Closes each month, with what had come by then. @returns the sum of all invoices in cents, and how many there are */
async function bill(customerId: string, all: readonly Used[], comes: (one: Used) => number) {
  for (const [index, month] of MONTHS.entries()) {
    store.clock.set(new Date(Date.UTC(2026, index + 1, 3)).toISOString());
    for (const one of all.filter((each) => comes(each) === index)) {
      const { coreHours, region, day } = one;
      const hour = `${MONTHS[one.month]}-${String(day).padStart(2, '0')}T00:00:00Z`;
      store.usage.add(customerId, hour, { region, cpuTimeNanos: BigInt(coreHours) * CORE_HOUR_NANOS });
    }
    await closeCustomer(store, customerId, month, AbortSignal.timeout(20_000));
  }
  // What came for a month that had nothing to bill has opened it again.
  for (const month of MONTHS) await closeCustomer(store, customerId, month, AbortSignal.timeout(20_000));
  const invoices = await listInvoices(store.db, { customerId }, 100);
  return {
    cents: invoices.reduce((sum, { total }) => sum + BigInt(total.replace('.', '')), 0n),
    adjustments: invoices.flatMap(({ lines }) => lines).filter(({ kind }) => kind === 'adjustment').length,
  };
}

it('comes to the same whenever it comes: over months, plans, tiers, allowances, packages, caps and minimums', async () => {
  let adjusted = 0;
  await assert(
    asyncProperty(tuple(array(used, { minLength: 1, maxLength: 8 }), changes), async ([all, changeDays]) => {
      const inTime = await bill(await aCustomer(changeDays), all, ({ month }) => month);
      const late = await bill(await aCustomer(changeDays), all, ({ month, comes }) => Math.max(month, comes));
      expect(inTime.adjustments).toBe(0);
      expect(late.cents).toBe(inTime.cents);
      adjusted += late.adjustments;
    }),
    { numRuns: 15 },
  );
  expect(adjusted).toBeGreaterThan(0);
});

it('for a month that had nothing to bill gets an invoice of its own, once, by the job that closes what is open', async () => {
  const customerId = await aCustomer([]);
  const close = () => closePeriod(store, '2026-02', AbortSignal.timeout(20_000));
  store.clock.set('2026-02-03T00:00:00Z');
  await closeCustomer(store, customerId, '2026-01', AbortSignal.timeout(20_000));
  store.clock.set('2026-03-03T00:00:00Z');
  expect(await openPeriods(store)).not.toContain('2026-01');
  store.usage.add(customerId, '2026-01-20T00:00:00Z', { cpuTimeNanos: 41n * CORE_HOUR_NANOS });
  expect(await close()).toMatchObject({ failed: 0, closed: true });
  expect(await openPeriods(store)).toContain('2026-01');
  expect(await closePeriod(store, '2026-01', AbortSignal.timeout(20_000))).toMatchObject({ finals: 1, closed: true });
  const [invoice, ...others] = await listInvoices(store.db, { customerId }, 10);
  // 5.00 and 10 core-hours beyond the allowance, less 7.5 %.
  expect([invoice?.period, invoice?.state, invoice?.total, others]).toEqual(['2026-01', 'final', '13.88', []]);
  store.clock.set('2026-04-03T00:00:00Z');
  await closePeriod(store, '2026-03', AbortSignal.timeout(20_000));
  expect(await openPeriods(store)).not.toContain('2026-01');
  expect(await listInvoices(store.db, { customerId }, 10)).toHaveLength(1);
});

it('is on every draft until an invoice is final with it, and again once that one is void', async () => {
  const customerId = await aCustomer([]);
  const soon = AbortSignal.timeout(20_000);
  const hour = { cpuTimeNanos: 40n * CORE_HOUR_NANOS };
  store.clock.set('2026-02-03T00:00:00Z');
  store.usage.add(customerId, '2026-01-05T00:00:00Z', hour);
  await closeCustomer(store, customerId, '2026-01', soon);
  store.usage.add(customerId, '2026-01-06T00:00:00Z', hour);
  const adjusted = async (at: string) => {
    store.clock.set(at);
    const { invoiceId } = await closeCustomer(store, customerId, '2026-02', soon);
    const { state, lines } = await getInvoice(store.db, invoiceId ?? '');
    return [
      state,
      lines.filter(({ kind, meter }) => kind === 'adjustment' && meter === 'cpu').map((line) => line.quantity),
    ];
  };
  // The grace is not over at first.
  expect(await adjusted('2026-03-01T06:00:00Z')).toEqual(['draft', ['40']]);
  expect(await adjusted('2026-03-01T07:00:00Z')).toEqual(['draft', ['40']]);
  expect(await adjusted('2026-03-03T00:00:00Z')).toEqual(['final', ['40']]);
  const [invoice] = await listInvoices(store.db, { customerId, period: '2026-02' }, 1);
  await voidInvoice(store, { invoiceId: invoice?.invoiceId ?? '', reason: 'wrong' }, ACTOR);
  expect(await adjusted('2026-03-04T00:00:00Z')).toEqual(['final', ['40']]);
});
