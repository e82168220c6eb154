import { describe, expect, it } from 'vitest';
import type { DiscountTerms, PlanContent } from '../../../src/billing/rating/plan-content.ts';
import { rateSpan } from '../../../src/billing/rating/rate-span.ts';
import {
  amountOff,
  charge,
  coreHours,
  dec,
  flat,
  percentOff,
  plan,
  septemberDays,
  SEPTEMBER,
  shown,
  span,
  unit,
} from './a-plan.ts';

// The tables of docs/money.md, row by row.
function lines(content: Partial<PlanContent>, hours = '0', days = 30): string[] {
  return rateSpan(span(plan(content), [coreHours(hours)], septemberDays(0, days)), SEPTEMBER, 'EUR', []).map(shown);
}

describe('discounts on lines of 100.00 and 50.00', () => {
  const charges = [charge(unit('1'), { chargeId: 'usage' }), charge(flat('50'), { chargeId: 'fee' })];

  it.each<[string, DiscountTerms[], string[]]>([
    ['10 % on all, then 20.00', [percentOff('10', 1), amountOff('20', 2)], ['discount:1 -15.00', 'discount:2 -20.00']],
    ['20.00, then 10 % on all', [percentOff('10', 2), amountOff('20', 1)], ['discount:2 -20.00', 'discount:1 -13.00']],
    ['200.00', [amountOff('200', 1)], ['discount:1 -150.00']],
    ['10 % on the first', [percentOff('10', 1, ['usage'])], ['discount:1 -10.00']],
  ])('%s', (_name, discounts, expected) => {
    const [usage, fee, ...taken] = lines({ charges, discounts }, '100');
    expect([usage, fee]).toEqual(['usage usage 100.00', 'flat fee 50.00']);
    expect(taken).toEqual(expected.map((each) => `discount ${each}`));
  });

  it("of the customer stand beside the plan's, by order, and a part of a period has a part of a fixed one", () => {
    const content = plan({ charges, discounts: [amountOff('20', 2)] });
    const ofCustomer = [{ discountId: 'welcome', terms: percentOff('10', 1) }];
    const rated = rateSpan(span(content, [coreHours('100')], septemberDays(0, 15)), SEPTEMBER, 'EUR', ofCustomer);
    expect(rated.map(shown).slice(2)).toEqual(['discount welcome -12.50', 'discount discount:1 -10.00']);
  });
});

describe('minimums, commitments and caps', () => {
  const usage = charge(unit('1'), { chargeId: 'u' });
  const fee = charge(flat('50'), { chargeId: 'f' });
  const commitment = (overage: string) => ({ amount: dec('500'), overagePercent: dec(overage) });

  it.each<[string, Partial<PlanContent>, string, string[]]>([
    ['80 of at least 100', { charges: [usage], minimum: dec('100') }, '80', ['minimum 20.00']],
    ['120 of at least 100', { charges: [usage], minimum: dec('100') }, '120', []],
    ['nothing of at least 100', { charges: [usage], minimum: dec('100') }, '0', ['minimum 100.00']],
    ['400 of 500', { charges: [usage, fee], commitment: commitment('100') }, '400', ['commitment 100.00']],
    ['600 of 500 at 120 %', { charges: [usage], commitment: commitment('120') }, '600', ['overage 20.00']],
    ['600 of 500 at 90 %', { charges: [usage], commitment: commitment('90') }, '600', ['overage -10.00']],
    ['600 of 500 at 100 %', { charges: [usage], commitment: commitment('100') }, '600', []],
    ['640 of at most 600', { charges: [usage], cap: dec('600') }, '640', ['cap -40.00']],
    ['600 of at most 600', { charges: [usage], cap: dec('600') }, '600', []],
  ])('%s', (_name, content, hours, expected) => {
    expect(lines(content, hours).filter((line) => !/^(usage|flat)/.test(line))).toEqual(expected);
  });

  it('of a charge is what its own discounts leave missing, used or not', () => {
    const charges = [
      charge(unit('1'), { chargeId: 'a', regions: ['eu'], minimum: dec('90') }),
      charge(unit('1'), { chargeId: 'b', regions: ['us'], minimum: dec('5') }),
      charge(flat('100'), { chargeId: 'f' }),
    ];
    // 20.00 over 100.00 and 100.00: 10.00 each, so that 90.00 are left of the first.
    expect(lines({ charges, discounts: [amountOff('20', 1)] }, '100').slice(2)).toEqual([
      'discount discount:1 -20.00',
      'minimum b 5.00',
    ]);
    expect(lines({ charges, discounts: [amountOff('22', 1)] }, '100').slice(2)).toEqual([
      'discount discount:1 -22.00',
      'minimum a 1.00',
      'minimum b 5.00',
    ]);
  });

  it('are prorated so that the parts of a period add up', () => {
    const content = plan({ charges: [usage], minimum: dec('100') });
    const parts = [
      [0, 10],
      [10, 20],
      [20, 30],
    ].flatMap(([from = 0, until = 0]) => {
      return rateSpan(span(content, [], septemberDays(from, until)), SEPTEMBER, 'EUR', []).map(shown);
    });
    expect(parts).toEqual(['minimum 33.33', 'minimum 33.34', 'minimum 33.33']);
  });

  it('come after discounts, and the cap last', () => {
    const content = { charges: [usage], discounts: [percentOff('50', 1)], minimum: dec('100'), cap: dec('100') };
    expect(lines(content, '150').slice(1)).toEqual(['discount discount:1 -75.00', 'minimum 25.00']);
    expect(lines(content, '300').slice(1)).toEqual(['discount discount:1 -150.00', 'cap -50.00']);
  });
});

describe('a plan in another currency', () => {
  it('has every amount of money multiplied by the rate, unrounded', () => {
    const exchange = { fromCurrency: 'USD', rate: dec('0.9137'), day: '2026-09-30', source: 'ECB' };
    const content = plan({
      charges: [charge(unit('0.05'), { chargeId: 'u' }), charge(flat('10'), { chargeId: 'f' })],
      discounts: [amountOff('1', 1)],
      minimum: dec('20'),
    });
    const rated = rateSpan(span(content, [coreHours('100')], { exchange }), SEPTEMBER, 'EUR', []);
    // 100 × 0.045685 = 4.5685; 9.137; 0.9137; 18.274 - (4.57 + 9.14 - 0.91)
    expect(rated.map(shown)).toEqual(['usage u 4.57', 'flat f 9.14', 'discount discount:1 -0.91', 'minimum 5.47']);
    expect(rated[0]).toMatchObject({ unitPrice: dec('0.045685'), exchange });
  });
});
