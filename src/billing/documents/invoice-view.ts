import type { Invoice, InvoiceLine, InvoiceTax } from '../invoice/invoice.ts';
import type { Party } from '../invoice/invoice-input.ts';
import {
  addDecimals,
  compareDecimals,
  type Decimal,
  formatDecimal,
  fractionOf,
  negate,
  parseDecimal,
  roundHalfEven,
  stripZeros,
} from '../money.ts';

/** An invoice or credit note as it is put on paper: text only, in reading order. The template lays it out and decides nothing. */
export interface InvoiceView {
  /** "Invoice", "Credit" where nothing is due because the total is below 0, or "Credit note". */
  readonly title: string;
  /** The number, or "Draft". */
  readonly number: string;
  /** "DRAFT", "VOID" or empty. */
  readonly watermark: string;
  readonly seller: readonly string[];
  readonly buyer: readonly string[];
  readonly facts: readonly Labelled[];
  readonly currency: string;
  readonly lines: readonly LineView[];
  readonly sums: readonly SumView[];
  readonly notes: readonly string[];
  readonly payment: readonly string[];
}

interface Labelled {
  readonly label: string;
  readonly value: string;
}

interface SumView extends Labelled {
  readonly strong: boolean;
}

interface LineView {
  readonly description: string;
  /** Small print, a row each. */
  readonly details: readonly string[];
  readonly quantity: string;
  readonly unit: string;
  readonly price: string;
  readonly amount: string;
}

/** What lines refer to, by invoice id: numbers and periods of other invoices. */
export type NamedInvoices = ReadonlyMap<string, { readonly number: string; readonly period: string }>;

const SHOWN_DIGITS = 6;

/** @param named holds at least the invoices that lines adjust and the one that this one replaces */
export function viewInvoice(invoice: Invoice, named: NamedInvoices): InvoiceView {
  const { seller, buyer, state } = invoice;
  return {
    title: invoice.total.startsWith('-') ? 'Credit' : 'Invoice',
    number: invoice.number ?? 'Draft',
    watermark: state === 'draft' ? 'DRAFT' : state === 'void' ? 'VOID' : '',
    seller: seller === undefined ? [] : partyLines(seller),
    buyer: buyer === undefined ? [invoice.customerId] : partyLines(buyer),
    facts: factsOf(invoice, named),
    currency: invoice.currency,
    lines: invoice.lines.map((line) => viewLine(line, invoice, named)),
    sums: sumsOf(invoice),
    notes: notesOf(invoice),
    // How to pay what is not due would only get it paid.
    payment: isPayable(invoice) ? (seller?.paymentLines ?? []) : [],
  };
}

/** A day such as "2026-09-30", as it was in the time zone. */
export function dayOf(instant: Date, timeZone: string): string {
  return partsOf(instant, timeZone).slice(0, 10);
}

/** Thousands apart, nothing else changed: "-1,872.00". */
export function grouped(decimal: string): string {
  const [, sign = '', whole = '', rest = ''] = /^(-?)(\d+)(.*)$/.exec(decimal) ?? [];
  return `${sign}${whole.replace(/\B(?=(\d{3})+$)/g, ',')}${rest}`;
}

function isPayable({ state, total, amountDue }: Invoice): boolean {
  return isAboveZero(state === 'draft' ? total : amountDue);
}

export function partyLines(party: Party): string[] {
  const taxId = party.taxId === '' ? '' : `Tax ID: ${party.taxId}`;
  return [party.name, ...party.addressLines, party.country, taxId, party.email].filter((line) => line !== '');
}

function factsOf(invoice: Invoice, named: NamedInvoices): Labelled[] {
  const { timeZone, finalizedAt, dueAt, voidedAt, replacesInvoiceId } = invoice;
  const optional = (label: string, value: string | undefined) => (value === undefined ? [] : [{ label, value }]);
  const dayOr = (instant: Date | undefined) => (instant === undefined ? undefined : dayOf(instant, timeZone));
  return [
    ...optional('Date', dayOr(finalizedAt)),
    ...optional('Due', isAboveZero(invoice.total) ? dayOr(dueAt) : undefined),
    { label: 'Period', value: periodOf(invoice) },
    { label: 'Time zone', value: timeZone },
    { label: 'Customer', value: invoice.customerId },
    ...optional('Replaces', replacesInvoiceId === undefined ? undefined : nameOf(replacesInvoiceId, named)),
    ...optional('Void since', dayOr(voidedAt)),
  ];
}

/** From its first day to its last. */
export function periodOf({ periodStart, periodEnd, timeZone }: Invoice): string {
  return `${dayOf(periodStart, timeZone)} to ${dayOf(new Date(periodEnd.getTime() - 1), timeZone)}`;
}

function nameOf(invoiceId: string, named: NamedInvoices): string {
  return named.get(invoiceId)?.number ?? invoiceId;
}

function viewLine(line: InvoiceLine, invoice: Invoice, named: NamedInvoices): LineView {
  // What has a price has a quantity, whatever it is counted in: the amount is to be checked from paper.
  const counted = line.unit !== '' || line.unitPrice !== '';
  return {
    description: descriptionOf(line),
    details: detailsOf(line, invoice, named),
    quantity: counted ? shownQuantity(line.quantity) : '',
    unit: line.unit,
    price: line.unitPrice === '' ? '' : grouped(line.unitPrice),
    amount: grouped(line.amount),
  };
}

/** Only discounts may be without one. */
export function descriptionOf({ description }: Pick<InvoiceLine, 'description'>): string {
  return description === '' ? 'Discount' : description;
}

function detailsOf(line: InvoiceLine, invoice: Invoice, named: NamedInvoices): string[] {
  const { unit, tiers, regions, exchange, adjustsInvoiceId } = line;
  const details: string[] = [];
  if (adjustsInvoiceId !== undefined) {
    const period = named.get(adjustsInvoiceId)?.period;
    details.push(`Corrects ${nameOf(adjustsInvoiceId, named)}${period === undefined ? '' : ` of ${period}`}`);
  }
  const isPart = line.start > invoice.periodStart || line.end < invoice.periodEnd;
  if (line.kind === 'manual') details.push(dayOf(line.start, invoice.timeZone));
  else if (isPart || adjustsInvoiceId !== undefined) details.push(spanOf(line, invoice.timeZone));
  if (!isZero(line.estimated)) {
    const observed = shownDifference(line.quantity, line.estimated);
    details.push(`Observed ${observed} ${unit}, estimated ${shownQuantity(line.estimated)} ${unit}`);
  }
  if (!isZero(line.included)) details.push(`Included: ${shownQuantity(line.included)} ${unit}`);
  for (const tier of tiers) {
    const flat = isZero(tier.flatAmount) ? '' : ` + ${grouped(tier.flatAmount)}`;
    const product = `${shownQuantity(tier.quantity)} × ${grouped(tier.unitPrice)}${flat}`;
    details.push(`${product} = ${shownQuantity(tier.amount)}`);
  }
  if (isCapped(line)) details.push(`Capped at ${grouped(line.amount)}`);
  if (regions.length > 0) {
    details.push(regions.map(({ region, quantity }) => `${region}: ${shownQuantity(quantity)}`).join(' · '));
  }
  if (exchange !== undefined) {
    const { fromCurrency, rate, day, source } = exchange;
    details.push(`1 ${fromCurrency} = ${rate} ${invoice.currency} on ${day} (${source})`);
  }
  return details;
}

/** Only then does a charge come to less than its tiers; one without tiers has then no price, though some of it is not included. */
function isCapped({ kind, tiers, unitPrice, quantity, included, amount }: InvoiceLine): boolean {
  if (kind !== 'usage' || unitPrice !== '') return false;
  if (tiers.length === 0) return compareDecimals(parse(included), parse(quantity)) < 0;
  const exact = tiers.map((tier) => parse(tier.amount)).reduce(addDecimals);
  const charged = parse(amount);
  return compareDecimals(roundHalfEven(fractionOf(exact), charged.scale), charged) > 0;
}

function sumsOf(invoice: Invoice): SumView[] {
  const { pricesIncludeTax, taxes, amountPaid, amountCredited, state } = invoice;
  const sums = [
    sum('Net', invoice.net),
    ...taxes.map(taxSum),
    sum(pricesIncludeTax ? 'Total, taxes included' : 'Total', invoice.total, true),
  ];
  if (!isZero(amountCredited)) sums.push(sum('Credited', `-${amountCredited}`));
  if (!isZero(amountPaid)) sums.push(sum('Paid', `-${amountPaid}`));
  if (state === 'final' || state === 'paid') sums.push(sum('Due', invoice.amountDue, true));
  return sums;
}

export function sum(label: string, value: string, strong = false): SumView {
  return { label, value: grouped(value), strong };
}

/** What is not charged has a note that says why. */
export function taxSum({ name, percent, base, amount, note }: InvoiceTax): SumView {
  return sum(note === '' ? `${name} ${plain(percent)} % on ${grouped(base)}` : name, amount);
}

function notesOf(invoice: Invoice): string[] {
  const notes = invoice.taxes.map((tax) => tax.note).filter((note) => note !== '');
  if (invoice.pricesIncludeTax) notes.push('Prices and amounts of lines include the taxes.');
  if (invoice.lines.some((line) => !isZero(line.estimated))) {
    notes.push(
      'Estimated quantities stand for times without measurements; they are corrected if measurements come in.',
    );
  }
  if (invoice.lines.some(isShortened)) {
    notes.push(`Quantities are shown to ${SHOWN_DIGITS} digits; amounts are computed from all digits.`);
  }
  if (invoice.state === 'void') notes.push(`Void: ${invoice.voidReason}`);
  return notes;
}

/** With times of day where it does not run from midnight to midnight. */
function spanOf({ start, end }: InvoiceLine, timeZone: string): string {
  const [from, until] = [partsOf(start, timeZone), partsOf(end, timeZone)];
  if (from.endsWith('00:00:00') && until.endsWith('00:00:00')) {
    return `${from.slice(0, 10)} to ${dayOf(new Date(end.getTime() - 1), timeZone)}`;
  }
  return `${from} to ${until}`;
}

/** E.g. "2026-09-30 14:00:00". */
function partsOf(instant: Date, timeZone: string): string {
  return new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' }).format(instant);
}

function isShortened({ quantity, included, estimated, tiers, regions }: InvoiceLine): boolean {
  const shown = [quantity, included, estimated, ...regions.map((region) => region.quantity)];
  shown.push(...tiers.flatMap((tier) => [tier.quantity, tier.amount]));
  return shown.some((each) => stripZeros(parse(each)).scale > SHOWN_DIGITS);
}

function shownQuantity(text: string): string {
  return grouped(shorten(parse(text)));
}

function shownDifference(text: string, less: string): string {
  return grouped(shorten(addDecimals(parse(text), negate(parse(less)))));
}

function shorten({ units, scale }: Decimal): string {
  const fraction = { numerator: units, denominator: 10n ** BigInt(scale) };
  return formatDecimal(stripZeros(roundHalfEven(fraction, Math.min(scale, SHOWN_DIGITS))));
}

function plain(text: string): string {
  return formatDecimal(stripZeros(parse(text)));
}

function isAboveZero(text: string): boolean {
  return parse(text).units > 0n;
}

function isZero(text: string): boolean {
  return parse(text).units === 0n;
}

/** What is stored is a decimal: one that is not is our fault. */
function parse(text: string): Decimal {
  return parseDecimal(text, 'invoice');
}
