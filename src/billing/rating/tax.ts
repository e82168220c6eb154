import type { ComputedLine, ComputedTax, TaxInput } from '../invoice/invoice-input.ts';
import {
  addDecimals,
  type Decimal,
  fractionOf,
  multiplyByDecimal,
  divideFractions,
  roundHalfEven,
  subtractDecimals,
  ZERO,
} from '../money.ts';

/** What a tax that is not charged is called on the invoice; the note says why. */
const NOT_CHARGED = { reverse_charge: 'Reverse charge', exempt: 'Exempt' } as const;
const WHOLE: Decimal = { units: 100n, scale: 0 };

/**
 * Each tax of the region on the sum of the taxable lines, rounded once, half to even. With taxes in the prices, what they
 * leave of the sum is the base. A tax that is not charged is a line of 0 with its note.
 * @param digits of the currency's minor unit
 */
export function taxesOf(
  lines: readonly Pick<ComputedLine, 'amount' | 'taxable'>[],
  tax: TaxInput,
  digits: number,
): ComputedTax[] {
  const taxable = lines.filter((line) => line.taxable);
  if (taxable.length === 0) return [];
  const sum = taxable.reduce((total, line) => addDecimals(total, line.amount), { units: 0n, scale: digits });
  if (tax.treatment !== 'standard') {
    const amount = { units: 0n, scale: digits };
    return [{ name: NOT_CHARGED[tax.treatment], percent: ZERO, base: sum, amount, note: tax.note }];
  }
  const percents = tax.rates.reduce((total, rate) => addDecimals(total, rate.percent), ZERO);
  const over = tax.pricesIncludeTax ? addDecimals(WHOLE, percents) : WHOLE;
  const amounts = tax.rates.map(({ name, percent }) => {
    const exact = divideFractions(multiplyByDecimal(fractionOf(sum), percent), fractionOf(over));
    return { name, percent, amount: roundHalfEven(exact, digits) };
  });
  const included = amounts.reduce((total, { amount }) => addDecimals(total, amount), ZERO);
  const base = tax.pricesIncludeTax ? subtractDecimals(sum, included) : sum;
  return amounts.map((each) => ({ ...each, base, note: '' }));
}
