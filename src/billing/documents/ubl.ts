import type { Invoice as UblInvoice } from '@e-invoice-eu/core';
import { z } from 'zod';
import { CallerFault } from '../../lib/failure.ts';
import { minorUnits } from '../currencies.ts';
import type { Party } from '../invoice/invoice-input.ts';
import type { Invoice, InvoiceLine, InvoiceTax } from '../invoice/invoice.ts';
import {
  addDecimals,
  type Decimal,
  formatDecimal,
  fractionOf,
  multiplyByDecimal,
  parseDecimal,
  roundHalfEven,
  stripZeros,
} from '../money.ts';
import type { CreditNote } from '../invoice/read-credit-notes.ts';
import { viewCreditNote } from './credit-note-view.ts';
import { dayOf, descriptionOf, type InvoiceView, type NamedInvoices, viewInvoice } from './invoice-view.ts';

/**
 * An invoice, or a credit note, as UBL 2.1 by EN 16931. The norm knows less than an invoice here may have: amounts of two digits, one VAT rate per line, prices without
 * it, countries of both parties. Where one is not so, there is no such document. What it has no words for, such as tiers, is in the
 * description of the line, which is then one piece at its amount.
 */

/** UN/ECE Recommendation 20; what has no code of its own is "one". */
const UNIT_CODES: Readonly<Record<string, string>> = { 'core-hour': 'HUR', 'VM-hour': 'HUR', GB: 'E34' };
const PIECE = 'C62';
const DIGITS_MAX = 2;
/** Document types of UN/CEFACT 1001, as EN 16931 allows them (BT-3). */
const INVOICE = '380';
const CREDIT_NOTE = '381';

/** How VAT applies to a line: the category of EN 16931 (BT-151), with its rate, or the reason why there is none. */
interface Vat {
  readonly category: 'S' | 'Z' | 'AE' | 'E' | 'O';
  readonly percent: string | undefined;
  readonly reason: string | undefined;
}

const NOT_TAXABLE: Vat = { category: 'E', percent: '0', reason: 'Not taxable' };
const NO_VAT: Vat = { category: 'O', percent: undefined, reason: 'Not subject to VAT' };

/** @throws CallerFault failed_precondition where the norm cannot say what the invoice says */
export async function renderUbl(invoice: Invoice, named: NamedInvoices): Promise<string> {
  return generate(contentOf(invoice, viewInvoice(invoice, named), { 'cbc:InvoiceTypeCode': INVOICE }));
}

/**
 * A credit note, which names the invoice that it credits. Its lines are pieces at their amounts: of a credit no quantity is known.
 * @param invoice the one that it credits
 * @throws CallerFault failed_precondition where the norm cannot say what the credit note says
 */
export async function renderCreditNoteUbl(note: CreditNote, invoice: Invoice): Promise<string> {
  const { number, issuedAt: finalizedAt, net, tax, taxes, total } = note;
  const lines = note.lines.map((line): InvoiceLine => {
    const credited = invoice.lines[line.invoiceLine - 1];
    if (credited === undefined)
      throw new Error(`${number} credits line ${line.invoiceLine}, and ${note.invoiceNumber} has none`);
    return { ...credited, description: line.description, amount: line.amount, quantity: '1', unit: '', unitPrice: '' };
  });
  const paper = { ...invoice, number, finalizedAt, dueAt: undefined, net, tax, taxes, total, lines };
  const ofInvoice = { 'cbc:ID': note.invoiceNumber, ...issued(invoice.finalizedAt, invoice.timeZone) };
  const content = contentOf(paper, viewCreditNote(note, invoice), {
    'cbc:InvoiceTypeCode': CREDIT_NOTE,
    'cac:BillingReference': [{ 'cac:InvoiceDocumentReference': ofInvoice }],
  });
  return generate(content);
}

/** The library makes a credit note of what has the type of one, and orders the elements. */
async function generate(content: object): Promise<string> {
  // The library checks it against its schema, code lists included.
  const document = z.custom<UblInvoice>().parse({ 'ubl:Invoice': content });
  // Half a second to load, and seldom asked for.
  const { InvoiceService } = await import('@e-invoice-eu/core');
  const service = new InvoiceService({ log: () => undefined, warn: () => undefined, error: () => undefined });
  const text = await service.generate(document, { format: 'UBL', lang: 'en', noWarnings: true });
  return typeof text === 'string' ? text : Buffer.from(text).toString();
}

/** @param more what only a document of this kind has, its type among it */
function contentOf(invoice: Invoice, view: InvoiceView, more: object): object {
  const { seller, buyer, number, finalizedAt, dueAt, timeZone, currency } = invoice;
  if (number === undefined || finalizedAt === undefined || invoice.state === 'void')
    throw not('drafts and void invoices');
  if (seller === undefined || buyer === undefined) throw not('an invoice without a seller');
  if (minorUnits(currency) > DIGITS_MAX) throw not(`amounts in ${currency}, of more than two digits`);
  if (invoice.pricesIncludeTax) throw not('prices with taxes in them');
  if (invoice.taxes.length > 1) throw not('several taxes on the same amount');
  const vat = vatOf(invoice.taxes[0]);
  const terms = [...view.notes, ...view.payment].join('\n');
  return {
    'cbc:CustomizationID': 'urn:cen.eu:en16931:2017',
    'cbc:ID': number,
    ...issued(finalizedAt, timeZone),
    ...(dueAt === undefined ? {} : { 'cbc:DueDate': dayOf(dueAt, timeZone) }),
    ...more,
    'cbc:DocumentCurrencyCode': currency,
    'cac:InvoicePeriod': {
      'cbc:StartDate': dayOf(invoice.periodStart, timeZone),
      'cbc:EndDate': dayOf(new Date(invoice.periodEnd.getTime() - 1), timeZone),
    },
    'cac:AccountingSupplierParty': partyOf(seller, vat, true),
    'cac:AccountingCustomerParty': partyOf(buyer, vat, false),
    ...(terms === '' ? {} : { 'cac:PaymentTerms': { 'cbc:Note': terms } }),
    'cac:TaxTotal': [
      { ...inCurrency('cbc:TaxAmount', invoice.tax, currency), 'cac:TaxSubtotal': subtotalsOf(invoice, vat) },
    ],
    'cac:LegalMonetaryTotal': {
      ...inCurrency('cbc:LineExtensionAmount', invoice.net, currency),
      ...inCurrency('cbc:TaxExclusiveAmount', invoice.net, currency),
      ...inCurrency('cbc:TaxInclusiveAmount', invoice.total, currency),
      ...inCurrency('cbc:PayableAmount', invoice.total, currency),
    },
    'cac:InvoiceLine': invoice.lines.map((line, index) => {
      const details = view.lines[index]?.details ?? [];
      return lineOf(line, index + 1, invoice, details, line.taxable ? vat : nontaxable(vat));
    }),
  };
}

function issued(at: Date | undefined, timeZone: string): object {
  return at === undefined ? {} : { 'cbc:IssueDate': dayOf(at, timeZone) };
}

function not(what: string): CallerFault {
  const message = `format: EN 16931, and so UBL, has no ${what}; a PDF can be had`;
  return new CallerFault('failed_precondition', 'format', message);
}

function vatOf(tax: InvoiceTax | undefined): Vat {
  if (tax === undefined) return NO_VAT;
  if (tax.note !== '') {
    return { category: tax.name === 'Reverse charge' ? 'AE' : 'E', percent: '0', reason: tax.note };
  }
  const percent = formatDecimal(stripZeros(decimal(tax.percent)));
  return { category: percent === '0' ? 'Z' : 'S', percent, reason: undefined };
}

/** Where nothing is subject to VAT, or all is exempt, this is so too: the norm mixes the one with nothing, and sums the other once. */
function nontaxable(vat: Vat): Vat {
  return vat.category === 'O' || vat.category === 'E' ? vat : NOT_TAXABLE;
}

function partyOf(party: Party, vat: Vat, isSeller: boolean): object {
  const who = isSeller ? 'seller' : 'buyer';
  if (party.country === '') throw not(`${who} without a country`);
  // The norm could do without; the library asks for it, as the networks do that carry such documents.
  if (party.email === '') throw not(`${who} without an e-mail address`);
  const [street, additional, ...more] = party.addressLines;
  const vatId = vatIdOf(party, vat, isSeller);
  const scheme = { 'cbc:CompanyID': vatId, 'cac:TaxScheme': { 'cbc:ID': 'VAT' } };
  const identification = vatId === undefined && party.taxId !== '' ? { 'cbc:ID': party.taxId } : undefined;
  return {
    'cac:Party': {
      'cbc:EndpointID': party.email,
      'cbc:EndpointID@schemeID': 'EM',
      ...(identification && { 'cac:PartyIdentification': isSeller ? [identification] : identification }),
      'cac:PostalAddress': {
        ...(street === undefined ? {} : { 'cbc:StreetName': street }),
        ...(additional === undefined ? {} : { 'cbc:AdditionalStreetName': additional }),
        ...(more.length === 0 ? {} : { 'cac:AddressLine': { 'cbc:Line': more.join(', ') } }),
        'cac:Country': { 'cbc:IdentificationCode': party.country },
      },
      ...(vatId === undefined ? {} : { 'cac:PartyTaxScheme': isSeller ? [scheme] : scheme }),
      'cac:PartyLegalEntity': { 'cbc:RegistrationName': party.name },
    },
  };
}

/**
 * The tax id where it is a VAT id, which begins with its country (BR-CO-09), and where the norm allows one: where nothing is
 * subject to VAT it does not (BR-O-2 and 3). Elsewhere it asks for the seller's (BR-S-2 and those like it), for the buyer's
 * where the buyer owes the tax (BR-AE-2), and for something to know the seller by in any case (BR-CO-26).
 */
function vatIdOf({ taxId }: Party, { category }: Vat, isSeller: boolean): string | undefined {
  if (isSeller && taxId === '') throw not('seller without a tax id');
  if (category === 'O') return undefined;
  if (/^[A-Z]{2}/.test(taxId)) return taxId;
  if (isSeller) throw not(`seller without a VAT id such as "DE123456789": "${taxId}" names no country`);
  if (category === 'AE') throw not('reverse charge to a buyer without a VAT id such as "DE123456789"');
  return undefined;
}

function subtotalsOf({ lines, tax, currency }: Invoice, vat: Vat): object[] {
  const isOther = (line: InvoiceLine): boolean => !line.taxable && nontaxable(vat) !== vat;
  const subtotal = (of: readonly InvoiceLine[], amount: string, category: Vat): object[] => {
    if (of.length === 0) return [];
    const sum = of.reduce((total, line) => addDecimals(total, decimal(line.amount)), decimal('0'));
    return [
      {
        ...inCurrency('cbc:TaxableAmount', formatDecimal(sum), currency),
        ...inCurrency('cbc:TaxAmount', amount, currency),
        'cac:TaxCategory': categoryOf(category, true),
      },
    ];
  };
  return [
    ...subtotal(
      lines.filter((line) => !isOther(line)),
      tax,
      vat,
    ),
    ...subtotal(lines.filter(isOther), formatDecimal({ units: 0n, scale: minorUnits(currency) }), NOT_TAXABLE),
  ];
}

function categoryOf({ category, percent, reason }: Vat, withReason: boolean): object {
  return {
    'cbc:ID': category,
    ...(percent === undefined ? {} : { 'cbc:Percent': percent }),
    ...(withReason && reason !== undefined ? { 'cbc:TaxExemptionReason': reason } : {}),
    'cac:TaxScheme': { 'cbc:ID': 'VAT' },
  };
}

function lineOf(line: InvoiceLine, position: number, invoice: Invoice, details: readonly string[], vat: Vat): object {
  const { currency } = invoice;
  const { quantity, unitCode, price } = pricedOf(line, currency);
  const isPiece = unitCode === PIECE && line.unit !== '';
  const said = [...(isPiece ? [`${line.quantity} ${line.unit}`] : []), ...details].join('\n');
  return {
    'cbc:ID': String(position),
    'cbc:InvoicedQuantity': quantity,
    'cbc:InvoicedQuantity@unitCode': unitCode,
    ...inCurrency('cbc:LineExtensionAmount', line.amount, currency),
    ...periodOf(line, invoice),
    'cac:Item': {
      ...(said === '' ? {} : { 'cbc:Description': said }),
      'cbc:Name': descriptionOf(line),
      'cac:ClassifiedTaxCategory': categoryOf(vat, false),
    },
    'cac:Price': inCurrency('cbc:PriceAmount', price, currency),
  };
}

/** None for what lies outside of the invoice's period, such as adjustments and fees in advance: the norm does not allow it. */
function periodOf({ start, end }: InvoiceLine, { periodStart, periodEnd, timeZone }: Invoice): object {
  if (start < periodStart || end > periodEnd) return {};
  const days = {
    'cbc:StartDate': dayOf(start, timeZone),
    'cbc:EndDate': dayOf(new Date(end.getTime() - 1), timeZone),
  };
  return { 'cac:InvoicePeriod': days };
}

/** Quantity and price where they alone make the amount; one piece at the amount otherwise. Prices are never below 0. */
function pricedOf(
  { quantity, unit, unitPrice, amount }: InvoiceLine,
  currency: string,
): { quantity: string; unitCode: string; price: string } {
  const exact = unitPrice === '' ? undefined : multiplyByDecimal(fractionOf(decimal(quantity)), decimal(unitPrice));
  const rounded = exact && formatDecimal(roundHalfEven(exact, minorUnits(currency)));
  const unitCode = UNIT_CODES[unit];
  if (rounded === amount && unitCode !== undefined && !unitPrice.startsWith('-')) {
    return { quantity, unitCode, price: unitPrice };
  }
  const isBelow = amount.startsWith('-');
  return { quantity: isBelow ? '-1' : '1', unitCode: PIECE, price: isBelow ? amount.slice(1) : amount };
}

function inCurrency(name: string, amount: string, currency: string): object {
  return { [name]: amount, [`${name}@currencyID`]: currency };
}

function decimal(text: string): Decimal {
  return parseDecimal(text, 'invoice');
}
