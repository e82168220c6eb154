import { expect, it } from 'vitest';
import { createCustomer } from '../../../src/billing/customers.ts';
import { closeCustomer } from '../../../src/billing/invoice/closings.ts';
import type { Invoice } from '../../../src/billing/invoice/invoice.ts';
import { getInvoice } from '../../../src/billing/invoice/read-invoices.ts';
import { createDiscount } from '../../../src/billing/plans/discounts.ts';
import { subscribe } from '../../../src/billing/plans/subscribe.ts';
import { putExchangeRate } from '../../../src/billing/rates/exchange-rates.ts';
import { postgresForTest } from '../../database.ts';
import { ACTOR, aStore, CORE_HOUR_NANOS, publishContent } from '../a-store.ts';
import { aContent } from '../plans/a-content.ts';

const store = aStore(await postgresForTest());

const fixed = (value: string, order: number) => {
  return { description: '', value: { case: 'amount', value }, chargeIds: [], order } as const;
};
const content = aContent({ discounts: [fixed('10.00', 1)] });
await publishContent(store, { planId: 'dollars', currency: 'USD', content });
for (const [toCurrency, day, rate] of [
  ['EUR', '2026-09-30', '0.9'],
  ['EUR', '2026-10-31', '0.8'],
  ['JPY', '2026-09-30', '150.25'],
] as const) {
  await putExchangeRate(store, { fromCurrency: 'USD', toCurrency, day, rate, source: 'ECB' }, ACTOR);
}

/** On the plan in USD, with a discount of its own in its own currency, and 2,000 core-hours in the last days of September. */
async function aCustomer(customerId: string, currency: string, amount: string, startsAt: string): Promise<void> {
  await createCustomer(store, { customerId, name: customerId, currency }, ACTOR);
  await subscribe(store, { customerId, planId: 'dollars', startsAt: new Date(startsAt) }, ACTOR);
  const validity = { validFrom: new Date('2026-09-01T00:00:00Z'), validUntil: undefined };
  const discount = { discountId: `own ${customerId}`, customerId, terms: fixed(amount, 2), ...validity };
  await createDiscount(store, discount, ACTOR);
  store.usage.add(customerId, '2026-09-20T00:00:00Z', { cpuTimeNanos: 2000n * CORE_HOUR_NANOS });
}

async function close(customerId: string, period: string): Promise<Invoice> {
  const { invoiceId } = await closeCustomer(store, customerId, period, AbortSignal.timeout(20_000));
  return getInvoice(store.db, invoiceId ?? '');
}

it.each([
  // Usage of 100 USD; of the plan's 10 USD and of the customer's own amount the period's share.
  ['euro', 'EUR', '20.00', '2026-09-01T00:00:00Z', ['90.00', '-9.00', '-20.00'], '61.00'],
  ['half', 'EUR', '20.00', '2026-09-16T00:00:00Z', ['90.00', '-4.50', '-10.00'], '75.50'],
  ['yen', 'JPY', '500', '2026-09-01T00:00:00Z', ['15025', '-1502', '-500'], '13023'],
])(
  '%s: the plan’s amounts are converted, the customer’s own are not',
  async (id, currency, amount, from, lines, total) => {
    await aCustomer(id, currency, amount, from);
    const invoice = await close(id, '2026-09');
    expect(invoice.lines.map((line) => line.amount)).toEqual(lines);
    expect(invoice.total).toBe(total);
  },
);

it('late usage is billed at the rate of its own period', async () => {
  await aCustomer('late', 'EUR', '20.00', '2026-09-01T00:00:00Z');
  const september = await close('late', '2026-09');
  store.usage.add('late', '2026-09-21T00:00:00Z', { cpuTimeNanos: 200n * CORE_HOUR_NANOS });
  store.usage.add('late', '2026-10-21T00:00:00Z', { cpuTimeNanos: 2000n * CORE_HOUR_NANOS });
  store.clock.set('2026-11-03T00:00:00Z');
  const october = await close('late', '2026-10');
  const shown = october.lines.map((line) => [line.kind, line.amount, line.exchange?.rate, line.adjustsInvoiceId]);
  expect(shown).toEqual([
    ['usage', '80.00', '0.8', undefined],
    ['discount', '-8.00', '0.8', undefined],
    ['discount', '-20.00', '0.8', undefined],
    ['adjustment', '9.00', '0.9', september.invoiceId],
  ]);
  expect(october.total).toBe('61.00');
});
