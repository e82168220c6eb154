import { describe, expect, it } from 'vitest';
import type { TaxInput } from '../../../src/billing/invoice/invoice-input.ts';
import { formatDecimal } from '../../../src/billing/money.ts';
import { taxesOf } from '../../../src/billing/rating/tax.ts';
import { dec } from './a-plan.ts';

function standard(pricesIncludeTax: boolean, ...percents: string[]): TaxInput {
  const rates = percents.map((percent, index) => ({ name: `T${index + 1}`, percent: dec(percent) }));
  return { treatment: 'standard', region: 'de', rates, pricesIncludeTax };
}

// The table of docs/money.md, row by row.
describe('tax', () => {
  it.each<[string, TaxInput, [base: string, amount: string][]]>([
    ['100.05', standard(false, '19'), [['100.05', '19.01']]],
    ['119.00', standard(true, '19'), [['100.00', '19.00']]],
    [
      '10.00',
      standard(true, '5', '9.975'),
      [
        ['8.70', '0.43'],
        ['8.70', '0.87'],
      ],
    ],
    ['100.00', { treatment: 'reverse_charge', note: 'Reverse charge: the buyer owes the tax' }, [['100.00', '0.00']]],
    ['100.00', { treatment: 'exempt', note: 'school' }, [['100.00', '0.00']]],
    ['100.00', standard(false), []],
  ])('of %s', (amount, tax, expected) => {
    const taxes = taxesOf([{ amount: dec(amount), taxable: true }], tax, 2);
    expect(taxes.map((each) => [formatDecimal(each.base), formatDecimal(each.amount)])).toEqual(expected);
    if (tax.treatment !== 'standard') expect(taxes[0]?.note).toBe(tax.note);
  });

  it('is computed once, on the sum of the taxable lines, and rounded half to even', () => {
    const line = (amount: string, taxable = true) => ({ amount: dec(amount), taxable });
    // 0.02 × 3 × 25 % = 0.015; line by line it would be 0.005 each, which is 0.00.
    const taxes = taxesOf([line('0.02'), line('0.02'), line('0.02'), line('50.00', false)], standard(false, '25'), 2);
    expect(taxes.map(({ base, amount }) => [base, amount].map(formatDecimal))).toEqual([['0.06', '0.02']]);
  });

  it('is below 0 where the lines are, and nothing where none is taxable', () => {
    expect(taxesOf([{ amount: dec('-10.00'), taxable: true }], standard(false, '19'), 2)[0]?.amount).toEqual(
      dec('-1.90'),
    );
    expect(taxesOf([{ amount: dec('10.00'), taxable: false }], standard(false, '19'), 2)).toEqual([]);
  });
});
