import * as fc from 'fast-check';
import type {
  Exchange,
  InvoiceInput,
  MeasuredPlanSpan,
  SpanUsage,
  TaxInput,
} from '../../../src/billing/invoice/invoice-input.ts';
import type { Decimal } from '../../../src/billing/money.ts';
import { advanceFees } from '../../../src/billing/rating/advance.ts';
import { METRICS } from '../../../src/billing/rating/metrics.ts';
import type {
  Charge,
  ChargeModel,
  DiscountTerms,
  PlanContent,
  Tier,
} from '../../../src/billing/rating/plan-content.ts';
import { dec, invoiceInput, NO_USAGE } from './a-plan.ts';

/** 28 to 31 days; and March and October with an hour less or more, in zones of whole and of half hours. */
const PERIOD_HOURS_HALVED = [28, 29, 30, 31].map((days) => days * 48).concat([31 * 48 - 2, 31 * 48 + 2, 30 * 48 + 1]);
/** The currency, and the digits of its minor unit. */
export const CURRENCIES = [
  ['JPY', 0],
  ['EUR', 2],
  ['KWD', 3],
] as const;
const REGIONS = ['ap', 'eu', 'us'];
const START_MS = Date.UTC(2026, 2);
const HALF_HOUR_MS = 1_800_000;

const prices = decimals(9999n, 4);
const money = decimals(200_000n, 2);
const percents = decimals(100_000n, 3);

const models: fc.Arbitrary<ChargeModel> = fc.oneof(
  fc.record({ kind: fc.constant('unit' as const), price: prices }),
  fc.record({ kind: fc.constantFrom('graduated' as const, 'volume' as const), tiers: anyTiers() }),
  fc.record({ kind: fc.constant('package' as const), size: positive(decimals(5000n, 1)), price: prices }),
  fc.record({ kind: fc.constant('flat' as const), amount: money, inAdvance: fc.boolean() }),
);

const usages: fc.Arbitrary<SpanUsage> = fc
  .record({
    region: fc.constantFrom(...REGIONS),
    cpuTimeNanos: amountsUpTo(2_000n * 3_600_000_000_000n),
    diskReadBytes: amountsUpTo(10n ** 13n),
    networkRxBytes: amountsUpTo(10n ** 12n),
    observedNanos: amountsUpTo(1_000n * 3_600_000_000_000n),
    estimatedNanos: amountsUpTo(10n ** 13n),
  })
  .map(({ region, estimatedNanos, ...observed }) => ({
    region,
    observed: { ...NO_USAGE, ...observed },
    estimated: { ...NO_USAGE, cpuTimeNanos: estimatedNanos, observedNanos: estimatedNanos },
    hoursHash: '00',
  }));

const exchanges: fc.Arbitrary<Exchange> = positive(decimals(9_000_000n, 6)).map((rate) => {
  return { fromCurrency: 'USD', rate, day: '2026-03-31', source: 'ECB' };
});

const taxes: fc.Arbitrary<TaxInput> = fc.oneof(
  fc.record({
    treatment: fc.constant('standard' as const),
    region: fc.constant('de'),
    rates: fc.array(
      percents.map((percent) => ({ name: 'VAT', percent })),
      { maxLength: 3 },
    ),
    pricesIncludeTax: fc.boolean(),
  }),
  fc.record({ treatment: fc.constantFrom('exempt' as const, 'reverse_charge' as const), note: fc.constant('so') }),
);

/** A month of a customer: everything that a plan may have, one to four spans of it, in periods of every length. */
export function anyMonth(contents: fc.Arbitrary<PlanContent> = anyContent()): fc.Arbitrary<InvoiceInput> {
  return fc
    .record({
      halfHours: fc.constantFrom(...PERIOD_HOURS_HALVED),
      currency: fc.constantFrom(...CURRENCIES.map(([code]) => code)),
      cuts: fc.uniqueArray(fc.integer({ min: 1, max: 28 * 86_400 - 1 }), { maxLength: 3 }),
      plans: fc.array(
        fc.record({
          content: contents,
          exchange: fc.option(exchanges, { nil: undefined }),
          usage: fc.array(usages, { maxLength: 4 }),
        }),
        { minLength: 4, maxLength: 4 },
      ),
      discounts: fc.array(anyDiscount(), { maxLength: 2 }),
      billed: fc.boolean(),
      manual: fc.option(fc.record({ quantity: decimals(1000n, 2), unitPrice: prices }), { nil: undefined }),
      tax: taxes,
    })
    .map(({ halfHours, currency, cuts, plans, discounts, billed, manual, tax }) => {
      const start = new Date(START_MS);
      const end = new Date(START_MS + halfHours * HALF_HOUR_MS);
      const period = { name: '2026-03', start, end };
      const nextPeriod = { name: '2026-04', start: end, end: new Date(end.getTime() + 30 * 48 * HALF_HOUR_MS) };
      const edges = [...cuts.toSorted((a, b) => a - b).map((second) => new Date(START_MS + second * 1000)), end];
      const spans = edges.map((until, index): MeasuredPlanSpan => {
        const { content, exchange, usage } = plans[index] ?? { content: NO_PLAN, exchange: undefined, usage: [] };
        const from = edges[index - 1] ?? start;
        return {
          start: from,
          end: until,
          planId: `p${index}`,
          planVersion: 1,
          content,
          metrics: METRICS,
          exchange,
          usage,
        };
      });
      const [first, last] = [spans[0], spans.at(-1)];
      return invoiceInput({
        currency,
        period,
        spans,
        next: { period: nextPeriod, spans: last === undefined ? [] : [{ ...last, ...nextPeriod }] },
        billedInAdvance: billed && first !== undefined ? advanceFees({ ...first, start, end }, period, currency) : [],
        discounts: discounts.map((terms, index) => ({ discountId: `d${index}`, terms })),
        manualLines:
          manual === undefined
            ? []
            : [{ ...manual, manualLineId: 'm', description: 'Setup', unit: '', at: start, taxable: true }],
        tax,
      });
    });
}

/** A plan's content of up to four charges. */
export function anyContent(model: fc.Arbitrary<ChargeModel> = models): fc.Arbitrary<PlanContent> {
  const charges = fc
    .array(
      fc.record({
        metric: fc.constantFrom('cpu', 'cpu', 'disk_io', 'vm'),
        model,
        regions: fc.uniqueArray(fc.constantFrom(...REGIONS), { maxLength: 2 }),
        cap: orNone(money),
        minimum: orNone(money),
      }),
      { maxLength: 4 },
    )
    .map(eachRegionOnce);
  return fc.record({
    name: fc.constant('Any'),
    charges,
    allowances: fc.array(fc.record({ metric: fc.constantFrom('cpu', 'disk_io'), quantity: money }), { maxLength: 1 }),
    discounts: fc.array(anyDiscount(), { maxLength: 3 }),
    minimum: orNone(money),
    commitment: orNone(fc.record({ amount: money, overagePercent: decimals(200_000n, 3) })),
    cap: orNone(money),
    gapPolicy: fc.constant('skip' as const),
    gapSecondsMax: fc.constant(600),
  });
}

const NO_PLAN: PlanContent = {
  name: '',
  charges: [],
  allowances: [],
  discounts: [],
  minimum: undefined,
  commitment: undefined,
  cap: undefined,
  gapPolicy: 'skip',
  gapSecondsMax: 600,
};

/** Leaves out what a valid plan cannot have: a region charged twice for one metric. */
function eachRegionOnce(charges: readonly Omit<Charge, 'chargeId' | 'description'>[]): Charge[] {
  const taken = new Set<string>();
  return charges.flatMap((each, index) => {
    const keys = (each.regions.length === 0 ? ['*'] : each.regions).map((region) => `${each.metric} ${region}`);
    const isFlat = each.model.kind === 'flat';
    if (!isFlat && keys.some((key) => taken.has(key))) return [];
    if (!isFlat) for (const key of keys) taken.add(key);
    const of = isFlat ? { metric: '', regions: [] } : {};
    return [{ ...each, ...of, chargeId: `c${index}`, description: '' }];
  });
}

function anyDiscount(): fc.Arbitrary<DiscountTerms> {
  const value = fc.oneof(
    fc.record({ kind: fc.constant('percent' as const), percent: percents }),
    fc.record({ kind: fc.constant('amount' as const), amount: money }),
  );
  const chargeIds = fc.constantFrom<readonly string[]>([], [], ['c0'], ['c1', 'c2']);
  return fc.record({ description: fc.constant('off'), value, chargeIds, order: fc.nat(3) });
}

function anyTiers(): fc.Arbitrary<Tier[]> {
  const parts = fc.record({ width: positive(decimals(50_000n, 2)), unitPrice: prices, flatAmount: money });
  return fc.array(parts, { minLength: 1, maxLength: 4 }).map((all) => {
    let bound = 0n;
    return all.map(({ width, unitPrice, flatAmount }, index) => {
      bound += width.units;
      return { upTo: index === all.length - 1 ? undefined : { units: bound, scale: 2 }, unitPrice, flatAmount };
    });
  });
}

/** Often 0, often small. */
function amountsUpTo(max: bigint): fc.Arbitrary<bigint> {
  return fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: 1000n }), fc.bigInt({ min: 0n, max }));
}

function decimals(unitsMax: bigint, scale: number): fc.Arbitrary<Decimal> {
  return fc.bigInt({ min: 0n, max: unitsMax }).map((units) => ({ units, scale }));
}

function positive(all: fc.Arbitrary<Decimal>): fc.Arbitrary<Decimal> {
  return all.map((each) => (each.units === 0n ? dec('1') : each));
}

function orNone<T>(all: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.option(all, { nil: undefined });
}
