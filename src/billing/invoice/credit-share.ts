import { CallerFault } from '../../lib/failure.ts';
import { minorUnits } from '../currencies.ts';
import { parseDecimalField } from '../decimal-field.ts';
import {
  addDecimals,
  compareDecimals,
  type Decimal,
  formatDecimal,
  roundHalfEven,
  subtractDecimals,
  ZERO,
} from '../money.ts';
import type { CreditableInvoice, CreditableLine, CreditableTax } from './creditable.ts';
import type { CreditNoteLine } from './read-credit-notes.ts';

/** What a credit note takes back, computed: of lines as they are on the invoice, and of its taxes in proportion. Pure. */

/** A line of the invoice and how much of it is wanted back, as the caller says it. */
export type AskedLine = Pick<CreditNoteLine, 'invoiceLine' | 'amount'>;

export interface Credit {
  /** Without those that nothing is credited of. */
  readonly lines: readonly CreditedLine[];
  /** All of the invoice's, in their order. */
  readonly taxes: readonly (CreditableTax & { readonly creditBase: Decimal; readonly creditAmount: Decimal })[];
  readonly net: Decimal;
  readonly tax: Decimal;
  readonly total: Decimal;
}

type CreditedLine = CreditableLine & { readonly credit: Decimal };

/**
 * @param asked none: all that is left of the invoice
 * @throws CallerFault invalid_argument where a line is not one of the invoice, or an amount is none; failed_precondition where
 *   less is left
 */
export function computeCredit(invoice: CreditableInvoice, asked: readonly AskedLine[]): Credit {
  const digits = minorUnits(invoice.currency);
  const amounts = asked.length === 0 ? undefined : askedAmounts(asked, invoice, digits);
  const lines = invoice.lines.map((line) => {
    const left = subtractDecimals(line.amount, line.credited);
    return { ...line, credit: amounts === undefined ? left : (amounts.get(line.position) ?? ZERO) };
  });
  const taxes = taxShares(lines, invoice, digits);
  const sum = sumOf(lines.map((line) => line.credit));
  const tax = sumOf(taxes.map((each) => each.creditAmount));
  const none = { units: 0n, scale: digits };
  const total = addDecimals(none, invoice.pricesIncludeTax ? sum : addDecimals(sum, tax));
  if (compareDecimals(total, ZERO) <= 0 || compareDecimals(total, invoice.left) > 0) {
    const message = `lines: ${formatDecimal(total)} is not above 0 and within the ${formatDecimal(invoice.left)} that are left of invoice ${invoice.number}`;
    throw new CallerFault('failed_precondition', 'lines', message);
  }
  return {
    lines: lines.filter((line) => line.credit.units !== 0n),
    taxes,
    net: subtractDecimals(total, tax),
    tax: addDecimals(none, tax),
    total,
  };
}

/** By the invoice's line. */
function askedAmounts(
  asked: readonly AskedLine[],
  { lines, currency }: CreditableInvoice,
  digits: number,
): Map<number, Decimal> {
  const byLine = new Map<number, Decimal>();
  for (const [index, { invoiceLine, amount: text }] of asked.entries()) {
    const [lineField, field] = [`lines[${index}].invoice_line`, `lines[${index}].amount`];
    const line = lines.find(({ position }) => position === invoiceLine);
    if (line === undefined) throw invalid(lineField, `${invoiceLine} is not from 1 to ${lines.length}`);
    if (byLine.has(invoiceLine)) throw invalid(lineField, `${invoiceLine} is named twice`);
    const amount = parseDecimalField(field, text);
    if (amount.scale > digits) throw invalid(field, `${text} is finer than the ${digits} digits of ${currency}`);
    checkIsLeft(line, amount, field);
    byLine.set(invoiceLine, amount);
  }
  return byLine;
}

/** Above 0 and at most what is left; of a line below 0 the other way round. */
function checkIsLeft({ position, amount, credited }: CreditableLine, asked: Decimal, field: string): void {
  const left = subtractDecimals(amount, credited);
  const [least, most] = compareDecimals(left, ZERO) < 0 ? [left, ZERO] : [ZERO, left];
  const isWithin = compareDecimals(asked, least) >= 0 && compareDecimals(asked, most) <= 0;
  if (isWithin && asked.units !== 0n) return;
  const message = `${field}: ${formatDecimal(asked)} is not within the ${formatDecimal(left)} that are left of line ${position}`;
  throw new CallerFault('failed_precondition', field, message);
}

/**
 * The share of each tax. It is rounded on what has been credited of the taxable lines in all, so that credits of the whole
 * invoice, in however many parts, add up to its taxes to the last digit. What the taxes are on is, as on the invoice, what was
 * credited of these lines, less the taxes where the prices have them in.
 * @param lines all of the invoice's, with what this credit note credits of each
 */
function taxShares(
  lines: readonly CreditedLine[],
  { taxes, pricesIncludeTax }: CreditableInvoice,
  digits: number,
): Credit['taxes'] {
  const taxable = lines.filter((line) => line.taxable);
  const whole = sumOf(taxable.map((line) => line.amount));
  const credited = sumOf(taxable.map((line) => addDecimals(line.credited, line.credit)));
  const none = { units: 0n, scale: digits };
  const shareOf = (amount: Decimal): Decimal => {
    if (whole.units === 0n) return none;
    // amount × credited / whole, with the scales of both sums made equal and the sign in the numerator.
    const scale = Math.max(whole.scale, credited.scale);
    const [over, under] = [unitsAt(credited, scale), unitsAt(whole, scale)];
    const sign = under < 0n ? -1n : 1n;
    const numerator = amount.units * over * sign;
    return roundHalfEven({ numerator, denominator: 10n ** BigInt(amount.scale) * under * sign }, digits);
  };
  const inAll = taxes.map((tax) => ({ tax, amount: shareOf(tax.amount) }));
  const included = pricesIncludeTax ? sumOf(inAll.map(({ amount }) => amount)) : none;
  const base = addDecimals(none, subtractDecimals(credited, included));
  return inAll.map(({ tax, amount }) => ({
    ...tax,
    creditBase: subtractDecimals(base, tax.baseCredited),
    creditAmount: subtractDecimals(amount, tax.credited),
  }));
}

function sumOf(amounts: readonly Decimal[]): Decimal {
  return amounts.reduce(addDecimals, ZERO);
}

function unitsAt({ units, scale }: Decimal, wanted: number): bigint {
  return units * 10n ** BigInt(wanted - scale);
}

function invalid(field: string, problem: string): CallerFault {
  return new CallerFault('invalid_argument', field, `${field}: ${problem}`);
}
