import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { expect, it } from 'vitest';
import { clientOf } from '../../demo/clients.ts';
import { CustomerService, TaxTreatment } from '../../gen/billing/v1/customers_pb.ts';
import { DiscountService } from '../../gen/billing/v1/discounts_pb.ts';
import { GapPolicy, PlanService } from '../../gen/billing/v1/plans_pb.ts';
import { RateService } from '../../gen/billing/v1/rates_pb.ts';
import { meterdForTest } from '../meterd.ts';

const meterd = await meterdForTest();
const customers = clientOf(CustomerService, meterd.url, meterd.adminKey);
const plans = clientOf(PlanService, meterd.url, meterd.adminKey);
const SINCE = timestampFromDate(new Date('2026-01-01T00:00:00Z'));

it('a customer, from registering to ending its plan', async () => {
  const details = {
    legalName: 'Acme GmbH',
    addressLines: ['Am Markt 1'],
    country: 'DE',
    taxId: 'DE1',
    taxRegion: 'DE',
  };
  const zone = { timeZone: 'Europe/Berlin', anchorDay: 15 };
  await customers.createCustomer({ customerId: 'acme', name: 'Acme', currency: 'EUR', ...zone, details });
  const { customer } = await customers.getCustomer({ customerId: 'acme' });
  expect(customer).toMatchObject({ ...zone, details: { ...details, taxTreatment: TaxTreatment.STANDARD } });
  expect(customer?.details?.paymentTermsDays).toBe(30);
  const updated = await customers.updateCustomer({ customerId: 'acme', name: 'Acme AG' });
  expect(updated.customer).toMatchObject({ name: 'Acme AG', details });

  const rate = { region: 'DE', name: 'VAT', percent: '19', validFrom: SINCE };
  const rates = clientOf(RateService, meterd.url, meterd.adminKey);
  expect((await rates.putTaxRate({ rate })).rate).toMatchObject({ region: 'DE', percent: '19' });
  expect((await rates.listTaxRates({ region: 'DE' })).rates).toHaveLength(1);
  const exchange = { fromCurrency: 'USD', toCurrency: 'EUR', day: '2026-09-30', rate: '0.85', source: 'ECB' };
  expect((await rates.putExchangeRate({ rate: exchange })).rate).toMatchObject(exchange);
  expect((await rates.listExchangeRates({})).rates).toMatchObject([exchange]);

  const metric = { metricId: 'io', description: 'I/O', unit: 'op', perUnit: '1' };
  await plans.defineMetric({ metric: { ...metric, terms: [{ quantity: 'disk_read_ops', weight: 2n }] } });
  const all = await plans.listMetrics({ pageSize: 13 });
  const rest = await plans.listMetrics({ pageSize: 13, pageToken: all.nextPageToken });
  expect([...all.metrics, ...rest.metrics].map(({ metricId }) => metricId)).toEqual([
    ...all.metrics.map(({ metricId }) => metricId),
    'io',
  ]);
  const tiers = [
    { upTo: '100', unitPrice: '1', flatAmount: '5' },
    { upTo: '', unitPrice: '0.5', flatAmount: '0' },
  ];
  const charge = { chargeId: 'io', metric: 'io', model: { case: 'graduated', value: { tiers } } } as const;
  const discount = { description: 'Launch', value: { case: 'percent', value: '10' }, order: 1 } as const;
  const content = { charges: [charge], discounts: [discount], gapPolicy: GapPolicy.CARRY, minimum: '10' };
  const { draft } = await plans.savePlanDraft({ planId: 'tiers', currency: 'EUR', content });
  expect((await plans.getPlanDraft({ planId: 'tiers' })).draft).toEqual(draft);
  expect(draft?.content).toMatchObject({ ...content, gapSecondsMax: 600 });
  const { plan } = await plans.publishPlanDraft({ planId: 'tiers', revision: 1, validFrom: SINCE });
  expect(plan?.rates).toBeUndefined();
  expect(plan).toMatchObject({ version: 1, content: { charges: [charge] } });
  expect((await plans.listPlans({ planId: 'tiers' })).plans).toEqual([plan]);
  await plans.deletePlanDraft({ planId: 'tiers' });

  await plans.subscribe({ customerId: 'acme', planId: 'tiers', startsAt: SINCE });
  const endsAt = timestampFromDate(new Date('2026-02-01T10:15:30Z'));
  await plans.endSubscription({ customerId: 'acme', endsAt });
  const { subscriptions } = await plans.listSubscriptions({ customerId: 'acme' });
  expect(subscriptions.map(({ planId }) => planId)).toEqual(['tiers', '']);

  const discounts = clientOf(DiscountService, meterd.url, meterd.adminKey);
  const wanted = { discountId: 'd-1', customerId: 'acme', terms: discount, validFrom: SINCE };
  await discounts.createDiscount({ discount: wanted });
  const ended = await discounts.endDiscount({ discountId: 'd-1', validUntil: endsAt });
  expect((await discounts.listDiscounts({ customerId: 'acme' })).discounts).toEqual([ended.discount]);
  const bad = discounts.createDiscount({ discount: { ...wanted, discountId: 'd-2', terms: {} } });
  await expect(bad).rejects.toMatchObject({ code: Code.InvalidArgument });
});
