import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import { CallerFault } from '../lib/failure.ts';
import type { CustomersTable } from '../storage/postgres/schema-billing.ts';
import type { Database } from '../storage/postgres/schema.ts';
import { lastDayOf, periodAfter } from './calendar.ts';
import type { BillingPeriod, Exchange, InvoiceInput, Party, PlanSpan, TaxInput } from './invoice/invoice-input.ts';
import { type CustomerDiscount, readDiscounts } from './plans/discounts.ts';
import { metricsOf } from './plans/metrics-store.ts';
import { type PriceSpan, priceSpans, type Subscription } from './plans/price-spans.ts';
import { readVersions } from './plans/read-versions.ts';
import type { PlanVersion } from './plans/plan-version.ts';
import { type ExchangeRates, readExchangeRates } from './rates/exchange-rates.ts';
import { readTaxRates, type TaxRate, taxRatesAt } from './rates/tax-rates.ts';
import type { Metric } from './rating/plan-content.ts';

/** What holds for a customer in a period: everything that an invoice is computed from but usage and what was billed before. */
export interface CustomerTerms extends Pick<
  InvoiceInput,
  'customerId' | 'currency' | 'timeZone' | 'period' | 'next' | 'discounts' | 'tax' | 'buyer'
> {
  /** In order of time. */
  readonly spans: readonly PlanSpan[];
  readonly paymentTermsDays: number;
  /** Differs where anything above does. */
  readonly key: string;
}

interface Wanted {
  readonly customerId: string;
  readonly period: BillingPeriod;
}

/** What was read for all customers at once. */
interface Shared {
  readonly subscriptions: ReadonlyMap<string, readonly Subscription[]>;
  readonly versions: readonly PlanVersion[];
  readonly metrics: ReadonlyMap<string, Metric>;
  readonly discounts: ReadonlyMap<string, readonly CustomerDiscount[]>;
  readonly taxRates: ReadonlyMap<string, readonly TaxRate[]>;
  readonly exchangeRates: ExchangeRates;
  readonly until: Date | undefined;
}

/**
 * The terms of many customers, with a number of queries that does not grow with theirs.
 * @param periods at most 1,000, of different customers
 * @param until of a period that is not over: rates are those known at this instant
 * @returns by customer; an Error where that customer's cannot be had: not registered, or a rate is missing
 */
export async function readTerms(
  db: Kysely<Database> | Transaction<Database>,
  periods: readonly Wanted[],
  until?: Date,
): Promise<Map<string, CustomerTerms | Error>> {
  if (periods.length === 0) return new Map();
  const ids = periods.map(({ customerId }) => customerId);
  const rows = await db
    .selectFrom('customers')
    .selectAll()
    .where(sql<boolean>`id = ANY(${ids})`)
    .execute();
  const customers = new Map(rows.map((row) => [row.id, row]));
  const subscriptions = await readSubscriptions(db, ids);
  const planIds = new Set([...subscriptions.values()].flat().map(({ planId }) => planId));
  const versions = await readVersions(
    db,
    [...planIds].filter((planId) => planId !== ''),
  );
  const shared: Shared = {
    subscriptions,
    versions,
    metrics: await metricsOf(
      db,
      versions.map(({ content }) => content),
    ),
    discounts: await readDiscounts(db, ids),
    taxRates: await readTaxRates(db, [...new Set(rows.map((row) => row.tax_region))]),
    exchangeRates: await readExchangeRates(db, currencyPairs(rows, versions), lastDays(rows, periods, until)),
    until,
  };
  return new Map(
    periods.map(({ customerId, period }) => [
      customerId,
      orError(() => termsOf(customerId, period, customers.get(customerId), shared)),
    ]),
  );
}

function termsOf(
  customerId: string,
  period: BillingPeriod,
  customer: Selectable<CustomersTable> | undefined,
  shared: Shared,
): CustomerTerms {
  if (customer === undefined) {
    const message = `customer_id: ${JSON.stringify(customerId)} is not registered`;
    throw new CallerFault('not_found', 'customer_id', message);
  }
  const { currency, time_zone: timeZone } = customer;
  const after = periodAfter(period, { timeZone, anchorDay: customer.anchor_day });
  const spansIn = (within: BillingPeriod) =>
    priceSpans(within, shared.subscriptions.get(customerId) ?? [], shared.versions);
  const lastDay = lastDayOf(period, timeZone, shared.until);
  const toPlanSpan = (span: PriceSpan): PlanSpan =>
    planSpan(span, shared, (from) => shared.exchangeRates.at(from, currency, lastDay));
  const discounts = (shared.discounts.get(customerId) ?? []).filter((discount) => holdsFor(discount, period));
  const terms = {
    customerId,
    currency,
    timeZone,
    period,
    spans: spansIn(period).map(toPlanSpan),
    // Only for fees in advance: what else changes in the next period is no reason to compute this one anew.
    next: { period: after, spans: spansIn(after).filter(hasFeeInAdvance).map(toPlanSpan) },
    discounts: discounts.map(({ discountId, terms: content }) => ({ discountId, terms: content })),
    tax: taxOf(customer, period, shared.taxRates),
    buyer: buyerOf(customer),
    paymentTermsDays: customer.payment_terms_days,
  };
  return { ...terms, key: keyOf(terms) };
}

/** @param exchangeFrom the exchange from a plan's currency */
function planSpan(
  { start, end, plan }: PriceSpan,
  { metrics }: Shared,
  exchangeFrom: (currency: string) => Exchange | undefined,
): PlanSpan {
  const { planId, version: planVersion, content, currency } = plan;
  const ids = new Set(content.charges.map((charge) => charge.metric));
  const named = [...metrics.values()].filter(({ id }) => ids.has(id));
  return { start, end, planId, planVersion, content, metrics: named, exchange: exchangeFrom(currency) };
}

function hasFeeInAdvance({ plan }: PriceSpan): boolean {
  return plan.content.charges.some(({ model }) => model.kind === 'flat' && model.inAdvance);
}

function holdsFor({ validFrom, validUntil }: CustomerDiscount, { start }: BillingPeriod): boolean {
  return validFrom <= start && (validUntil === undefined || start < validUntil);
}

function taxOf(
  customer: Selectable<CustomersTable>,
  period: BillingPeriod,
  taxRates: ReadonlyMap<string, readonly TaxRate[]>,
): TaxInput {
  switch (customer.tax_treatment) {
    case 'reverse_charge':
      return { treatment: 'reverse_charge', note: 'reverse charge' };
    case 'exempt':
      return { treatment: 'exempt', note: customer.tax_exempt_reason };
    case 'standard': {
      const region = customer.tax_region;
      const rates = region === '' ? [] : taxRatesAt(region, taxRates.get(region) ?? [], period.end);
      return { treatment: 'standard', region, rates, pricesIncludeTax: customer.prices_include_tax };
    }
  }
}

/** What invoices say of their buyer. */
function buyerOf(customer: Selectable<CustomersTable>): Party {
  const { name, legal_name, address_lines: addressLines, country, tax_id: taxId, email } = customer;
  return { name: legal_name || name, addressLines, country, taxId, email };
}

async function readSubscriptions(
  db: Kysely<Database>,
  customerIds: readonly string[],
): Promise<ReadonlyMap<string, readonly Subscription[]>> {
  const rows = await db
    .selectFrom('subscriptions')
    .select(['customer_id as customerId', 'plan_id as planId', 'starts_at as startsAt'])
    .where(sql<boolean>`customer_id = ANY(${customerIds})`)
    .execute();
  return Map.groupBy(rows, ({ customerId }) => customerId);
}

/** Every pair of a plan's currency and a customer's that differ. */
function currencyPairs(
  customers: readonly Selectable<CustomersTable>[],
  versions: readonly PlanVersion[],
): readonly (readonly [from: string, to: string])[] {
  const from = [...new Set(versions.map(({ currency }) => currency))];
  const to = [...new Set(customers.map(({ currency }) => currency))];
  return from.flatMap((each) => to.filter((other) => other !== each).map((other) => [each, other] as const));
}

function lastDays(
  customers: readonly Selectable<CustomersTable>[],
  periods: readonly Wanted[],
  until: Date | undefined,
): readonly string[] {
  const zones = new Map(customers.map((row) => [row.id, row.time_zone]));
  const days = periods.map(({ customerId, period }) => lastDayOf(period, zones.get(customerId) ?? 'UTC', until));
  return [...new Set(days)].toSorted();
}

/** Plans never change once published, so that a version's number stands for its content. */
function keyOf(terms: Omit<CustomerTerms, 'key'>): string {
  const spanKey = ({ start, end, planId, planVersion, exchange }: PlanSpan) => [
    start,
    end,
    planId,
    planVersion,
    exchange,
  ];
  const { spans, next, ...rest } = terms;
  const key = [rest, spans.map(spanKey), next.period, next.spans.map(spanKey)];
  return JSON.stringify(key, (_name, value: unknown) => (typeof value === 'bigint' ? value.toString() : value));
}

function orError<T>(make: () => T): T | Error {
  try {
    return make();
  } catch (reason) {
    return reason instanceof Error ? reason : new Error(String(reason));
  }
}
