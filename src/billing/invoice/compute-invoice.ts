import { createHash } from 'node:crypto';
import { minorUnits } from '../currencies.ts';
import { addDecimals, type Decimal, formatDecimal, fractionOf, multiplyByDecimal, roundHalfEven } from '../money.ts';
import { advanceFees, settleAdvance } from '../rating/advance.ts';
import { plainLine } from '../rating/charge-lines.ts';
import { rateSpan } from '../rating/rate-span.ts';
import { taxesOf } from '../rating/tax.ts';
import { encodeInput, inOrder } from './input-text.ts';
import type { ComputedLine, ComputedTax, InvoiceInput, ManualLine } from './invoice-input.ts';
import type { InvoiceLine, InvoiceTax } from './invoice.ts';

export interface ComputedInvoice {
  /** Spans in order of time, then fees in advance, adjustments and manual lines. */
  readonly lines: readonly InvoiceLine[];
  /** The same lines before they are text. */
  readonly computed: readonly ComputedLine[];
  readonly taxes: readonly ComputedTax[];
  readonly net: string;
  readonly tax: string;
  /** The sum of the lines, and of the taxes where the lines are without them. */
  readonly total: string;
  /** The lines' amounts have the taxes in them. */
  readonly pricesIncludeTax: boolean;
  /** All that it was computed from: `encodeInput`. */
  readonly input: string;
  /** SHA-256 of `input`. */
  readonly inputHash: Buffer;
  /** SHA-256 of lines and taxes. */
  readonly linesHash: Buffer;
}

/** How long a manual line's part of the period is: an instant. */
const INSTANT_MS = 1000;

/**
 * The invoice is this function of its input, and nothing else: the same input gives the same digits.
 * @throws CallerFault where the currency is unknown; Error where a span names a metric that it does not have
 */
export function computeInvoice(given: InvoiceInput): ComputedInvoice {
  const input = inOrder(given);
  const digits = minorUnits(input.currency);
  const computed = linesOf(input, digits);
  const lines = computed.map(toInvoiceLine);
  const taxes = taxesOf(computed, input.tax, digits);
  const pricesIncludeTax = input.tax.treatment === 'standard' && input.tax.pricesIncludeTax;
  const tax = sumOf(taxes, digits);
  const sum = sumOf(computed, digits);
  const text = encodeInput(input);
  return {
    lines,
    computed,
    taxes,
    net: formatDecimal(pricesIncludeTax ? { ...sum, units: sum.units - tax.units } : sum),
    tax: formatDecimal(tax),
    total: formatDecimal(pricesIncludeTax ? sum : addDecimals(sum, tax)),
    pricesIncludeTax,
    input: text,
    inputHash: sha256(text),
    linesHash: hashLines(lines, taxes.map(toInvoiceTax)),
  };
}

/** The same for lines and taxes as computed and as read back. */
export function hashLines(lines: readonly InvoiceLine[], taxes: readonly InvoiceTax[]): Buffer {
  const lineKeys = lines.map((line) => [
    [line.kind, line.chargeId, line.meter, line.description, line.quantity, line.unit, line.included, line.estimated],
    [line.unitPrice, line.amount, line.start, line.end, line.planId, line.planVersion, line.taxable],
    [line.adjustsInvoiceId ?? '', line.manualLineId ?? ''],
    line.tiers.map((tier) => [tier.quantity, tier.unitPrice, tier.flatAmount, tier.amount]),
    line.regions.map(({ region, quantity }) => [region, quantity]),
    line.exchange === undefined
      ? []
      : [line.exchange.fromCurrency, line.exchange.rate, line.exchange.day, line.exchange.source],
  ]);
  const taxKeys = taxes.map((tax) => [tax.name, tax.percent, tax.base, tax.amount, tax.note]);
  return sha256(JSON.stringify([lineKeys, taxKeys]));
}

function toInvoiceLine({ metric, exchange, ...line }: ComputedLine): InvoiceLine {
  return {
    ...line,
    meter: metric,
    quantity: formatDecimal(line.quantity),
    included: formatDecimal(line.included),
    estimated: formatDecimal(line.estimated),
    unitPrice: line.unitPrice === undefined ? '' : formatDecimal(line.unitPrice),
    amount: formatDecimal(line.amount),
    tiers: line.tiers.map((tier) => ({
      quantity: formatDecimal(tier.quantity),
      unitPrice: formatDecimal(tier.unitPrice),
      flatAmount: formatDecimal(tier.flatAmount),
      amount: formatDecimal(tier.amount),
    })),
    regions: line.regions.map(({ region, quantity }) => ({ region, quantity: formatDecimal(quantity) })),
    exchange: exchange === undefined ? undefined : { ...exchange, rate: formatDecimal(exchange.rate) },
  };
}

export function toInvoiceTax({ name, percent, base, amount, note }: ComputedTax): InvoiceTax {
  return {
    name,
    percent: formatDecimal(percent),
    base: formatDecimal(base),
    amount: formatDecimal(amount),
    note,
  };
}

function linesOf(input: InvoiceInput, digits: number): ComputedLine[] {
  const { period, currency, next } = input;
  return [
    ...input.spans.flatMap((span) => rateSpan(span, period, currency, input.discounts)),
    ...settleAdvance(input.spans, period, currency, input.billedInAdvance),
    ...next.spans.flatMap((span) => advanceFees(span, next.period, currency)),
    ...input.adjustments,
    ...input.manualLines.map((line) => manualLine(line, digits)),
  ];
}

function manualLine(line: ManualLine, digits: number): ComputedLine {
  const end = new Date(line.at.getTime() + INSTANT_MS);
  return {
    ...plainLine({ start: line.at, end, planId: '', planVersion: 0, exchange: undefined }),
    kind: 'manual',
    chargeId: '',
    description: line.description,
    quantity: line.quantity,
    unit: line.unit,
    unitPrice: line.unitPrice,
    amount: roundHalfEven(multiplyByDecimal(fractionOf(line.quantity), line.unitPrice), digits),
    taxable: line.taxable,
    manualLineId: line.manualLineId,
  };
}

function sumOf(parts: readonly { readonly amount: Decimal }[], digits: number): Decimal {
  return parts.reduce((sum, { amount }) => addDecimals(sum, amount), { units: 0n, scale: digits });
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
