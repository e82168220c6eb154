import { describe, expect, it } from 'vitest';
import { formatDecimal } from '../../../src/billing/money.ts';
import type { ChargeModel } from '../../../src/billing/rating/plan-content.ts';
import { rateSpan } from '../../../src/billing/rating/rate-span.ts';
import {
  amounts,
  charge,
  coreHours,
  dec,
  flat,
  plan,
  septemberDays,
  SEPTEMBER,
  span,
  tiers,
  unit,
  used,
} from './a-plan.ts';

// The tables of docs/money.md, row by row.
const TIERS = tiers(['100', '1.00', '5.00'], ['500', '0.50', '0'], ['', '0.25', '0']);
const GRADUATED: ChargeModel = { kind: 'graduated', tiers: TIERS };
const VOLUME: ChargeModel = { kind: 'volume', tiers: TIERS };
const PACKAGE: ChargeModel = { kind: 'package', size: dec('1000'), price: dec('2.00') };

function amountOf(model: ChargeModel, quantity: string, days = 30): string {
  const [line] = rateSpan(
    span(plan({ charges: [charge(model)] }), [coreHours(quantity)], septemberDays(0, days)),
    SEPTEMBER,
    'EUR',
    [],
  );
  return line === undefined ? 'no line' : formatDecimal(line.amount);
}

describe('unit', () => {
  it.each([
    ['1872', '0.05', '93.60'],
    ['0.1', '0.05', '0.00'],
    ['0.3', '0.05', '0.02'],
    ['0', '0.05', 'no line'],
    ['5', '0', '0.00'],
  ])('%s at %s', (quantity, price, amount) => {
    expect(amountOf(unit(price), quantity)).toBe(amount);
  });

  it('a third at 0.10', () => {
    const usage = [used('eu', { cpuTimeNanos: 1_200_000_000_000n })];
    expect(amounts(rateSpan(span(plan({ charges: [charge(unit('0.10'))] }), usage), SEPTEMBER, 'EUR', []))).toEqual([
      '0.03',
    ]);
  });

  it.each([
    ['JPY', '3'],
    ['USD', '3.33'],
    ['KWD', '3.333'],
    ['CLF', '3.3333'],
  ])('in %s has the digits of its minor unit', (currency, amount) => {
    const usage = [used('eu', { cpuTimeNanos: 1_200_000_000_000n })];
    expect(amounts(rateSpan(span(plan({ charges: [charge(unit('10'))] }), usage), SEPTEMBER, currency, []))).toEqual([
      amount,
    ]);
  });
});

describe('graduated', () => {
  it.each([
    ['0', 30, 'no line'],
    ['100', 30, '105.00'],
    ['100.5', 30, '105.25'],
    ['600', 30, '330.00'],
    ['60', 15, '57.50'],
  ])('%s in %d days', (quantity, days, amount) => {
    expect(amountOf(GRADUATED, quantity, days)).toBe(amount);
  });

  it('shows its tiers', () => {
    const [line] = rateSpan(span(plan({ charges: [charge(GRADUATED)] }), [coreHours('600')]), SEPTEMBER, 'EUR', []);
    const shown = line?.tiers.map((tier) => {
      return [tier.quantity, tier.unitPrice, tier.flatAmount, tier.amount].map(formatDecimal).join(' ');
    });
    expect(shown).toEqual(['100 1.00 5 105', '400 0.50 0 200', '100 0.25 0 25']);
    expect(line?.unitPrice).toBeUndefined();
  });
});

describe('volume', () => {
  it.each([
    ['100', 30, '105.00'],
    ['101', 30, '50.50'],
    ['600', 30, '150.00'],
    ['50', 15, '52.50'],
    ['51', 15, '25.50'],
  ])('%s in %d days', (quantity, days, amount) => {
    expect(amountOf(VOLUME, quantity, days)).toBe(amount);
  });
});

describe('package', () => {
  it.each([
    ['0.001', 30, '2.00'],
    ['1000', 30, '2.00'],
    ['1000.5', 30, '4.00'],
    ['1000.5', 15, '4.00'],
  ])('%s in %d days', (quantity, days, amount) => {
    expect(amountOf(PACKAGE, quantity, days)).toBe(amount);
  });

  it('of nothing billable costs nothing', () => {
    const content = plan({ charges: [charge(PACKAGE)], allowances: [{ metric: 'cpu', quantity: dec('744') }] });
    expect(amounts(rateSpan(span(content, [coreHours('700')]), SEPTEMBER, 'EUR', []))).toEqual(['0.00']);
  });
});

describe('flat', () => {
  it.each([
    [[[0, 30]], ['100.00']],
    [[[12, 30]], ['60.00']],
    [
      [
        [0, 10],
        [10, 20],
        [20, 30],
      ],
      ['33.33', '33.34', '33.33'],
    ],
  ] as const)('over days %j', (spans, expected) => {
    const content = plan({ charges: [charge(flat('100.00'))] });
    const lines = spans.flatMap(([from, until]) => {
      return rateSpan(span(content, [], septemberDays(from, until)), SEPTEMBER, 'EUR', []);
    });
    expect(amounts(lines)).toEqual(expected);
  });
});

describe('a cap of a charge', () => {
  it('holds before the line is rounded, by share', () => {
    const content = plan({ charges: [charge(unit('1'), { cap: dec('100') })] });
    const of = (hours: string, days: number): string[] => {
      return amounts(rateSpan(span(content, [coreHours(hours)], septemberDays(0, days)), SEPTEMBER, 'EUR', []));
    };
    expect([of('99', 30), of('101', 30), of('60', 15)]).toEqual([['99.00'], ['100.00'], ['50.00']]);
  });
});

describe('an allowance of 744 core-hours', () => {
  const content = plan({
    charges: [
      charge(unit('0.05'), { chargeId: 'eu', regions: ['eu'] }),
      charge(unit('0.05'), { chargeId: 'us', regions: ['us'] }),
    ],
    allowances: [{ metric: 'cpu', quantity: dec('744') }],
  });

  it.each([
    ['400', '200', 30, ['400', '200'], ['0.00', '0.00']],
    ['744', '248', 30, ['558', '186'], ['9.30', '3.10']],
    ['600', '0', 15, ['372'], ['11.40']],
  ])('eu %s, us %s in %d days', (eu, us, days, included, expected) => {
    const usage = [coreHours(us, 'us'), coreHours(eu, 'eu')];
    const lines = rateSpan(span(content, usage, septemberDays(0, days)), SEPTEMBER, 'EUR', []);
    expect(lines.map((line) => formatDecimal(line.included))).toEqual(included);
    expect(amounts(lines)).toEqual(expected);
  });
});

describe('regions', () => {
  it('are charged by the charge that names them, and the others by the one that names none', () => {
    const content = plan({
      charges: [charge(unit('1'), { chargeId: 'rest' }), charge(unit('2'), { chargeId: 'us', regions: ['us', 'ca'] })],
    });
    const usage = [coreHours('1', 'us'), coreHours('2', 'eu'), coreHours('3', 'ca'), coreHours('4', 'ap')];
    const lines = rateSpan(span(content, usage), SEPTEMBER, 'EUR', []);
    expect(lines.map(({ chargeId, regions }) => [chargeId, regions.map(({ region }) => region)])).toEqual([
      ['rest', ['ap', 'eu']],
      ['us', ['ca', 'us']],
    ]);
    expect(amounts(lines)).toEqual(['6.00', '8.00']);
  });
});

describe('estimates', () => {
  it('are part of the quantity, and shown', () => {
    const usage = [used('eu', { cpuTimeNanos: 3_600_000_000_000n }, { cpuTimeNanos: 1_800_000_000_000n })];
    const [line] = rateSpan(span(plan({ charges: [charge(unit('1'))] }), usage), SEPTEMBER, 'EUR', []);
    expect(line).toMatchObject({ quantity: dec('1.5'), estimated: dec('0.5'), amount: dec('1.50') });
  });
});
