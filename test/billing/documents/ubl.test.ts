import { describe, expect, it } from 'vitest';
import { renderCreditNoteUbl, renderUbl } from '../../../src/billing/documents/ubl.ts';
import type { Invoice, InvoiceLine } from '../../../src/billing/invoice/invoice.ts';
import { aCreditNote, aLine, anInvoice } from './an-invoice.ts';

function ublOf(invoice: Invoice): Promise<string> {
  return renderUbl(invoice, new Map());
}

/** Lines that come to 93.60 and no tax, so that totals hold. */
function withLines(...lines: InvoiceLine[]): Invoice {
  return anInvoice({ lines, taxes: [], tax: '0.00', total: '93.60' });
}

/** The texts of an element, in order. */
function texts(xml: string, element: string): string[] {
  return [...xml.matchAll(new RegExp(`<${element}(?: [^>]*)?>([^<]*)</${element}>`, 'g'))].map(([, text = '']) => text);
}

const SELLER = { name: 'S', addressLines: [], country: 'DE', taxId: 'DE1', email: 's@s.example', paymentLines: [] };
const BUYER = { name: 'A', addressLines: [], country: 'US', taxId: '', email: 'a@a.example' };
const REVERSE_CHARGE = { name: 'Reverse charge', percent: '0', base: '93.60', amount: '0.00', note: 'because' };

describe('an invoice as UBL', () => {
  it('says the same as the invoice', async () => {
    const xml = await ublOf(anInvoice());
    expect(texts(xml, 'cbc:CustomizationID')).toEqual(['urn:cen.eu:en16931:2017']);
    expect(texts(xml, 'cbc:ID').slice(0, 1)).toEqual(['INV-000007']);
    expect([texts(xml, 'cbc:IssueDate'), texts(xml, 'cbc:DueDate')]).toEqual([['2026-10-02'], ['2026-11-01']]);
    expect(texts(xml, 'cbc:CompanyID')).toEqual(['DE123456789', 'IE7']);
    expect(texts(xml, 'cbc:RegistrationName')).toEqual(['Cloud GmbH', 'Acme Ltd']);
    expect(xml).toContain('<cbc:InvoicedQuantity unitCode="HUR">1872</cbc:InvoicedQuantity>');
    expect(xml).toContain('<cbc:PriceAmount currencyID="EUR">0.05</cbc:PriceAmount>');
    expect(texts(xml, 'cbc:LineExtensionAmount')).toEqual(['93.60', '93.60']);
    expect(texts(xml, 'cbc:TaxAmount')).toEqual(['17.78', '17.78']);
    expect(texts(xml, 'cbc:PayableAmount')).toEqual(['111.38']);
    expect(xml).toContain('IBAN DE02 1203 0000 0000 2020 51');
    expect(await ublOf(anInvoice())).toBe(xml);
  });

  it('says in words what the norm has no fields for', async () => {
    const tiers = [{ quantity: '1872', unitPrice: '0.05', flatAmount: '0', amount: '93.6' }];
    const xml = await ublOf(withLines(aLine({ unit: 'GB-hour', unitPrice: '', tiers })));
    expect(xml).toContain('<cbc:InvoicedQuantity unitCode="C62">1</cbc:InvoicedQuantity>');
    expect(xml).toContain('<cbc:PriceAmount currencyID="EUR">93.60</cbc:PriceAmount>');
    expect(texts(xml, 'cbc:Description')[0]).toContain('1872 GB-hour\n1,872 × 0.05 = 93.6');
  });

  it('has prices of at least 0 for lines below 0, and no period where a line is of another one', async () => {
    const adjustment = aLine({
      kind: 'adjustment',
      amount: '-6.40',
      quantity: '-128',
      adjustsInvoiceId: 'x',
      start: new Date('2026-07-01T00:00:00Z'),
      end: new Date('2026-08-01T00:00:00Z'),
    });
    const manual = aLine({ kind: 'discount', unit: '', unitPrice: '', quantity: '0', amount: '-3.60' });
    const xml = await ublOf(withLines(aLine({ amount: '103.60', unitPrice: '' }), adjustment, manual));
    expect(texts(xml, 'cbc:PriceAmount')).toEqual(['103.60', '0.05', '3.60']);
    expect(texts(xml, 'cbc:InvoicedQuantity')).toEqual(['1', '-128', '-1']);
    // The invoice's own, and those of the two lines inside of it.
    expect(texts(xml, 'cbc:StartDate')).toHaveLength(3);
  });

  it.each([
    ['Reverse charge', 'AE'],
    ['Exempt', 'E'],
  ])('gives the reason for %s', async (name, category) => {
    const taxes = [{ name, percent: '0', base: '93.60', amount: '0.00', note: 'because' }];
    const xml = await ublOf(anInvoice({ taxes, tax: '0.00', total: '93.60' }));
    expect(texts(xml, 'cbc:TaxExemptionReason')).toEqual(['because']);
    expect(xml).toContain(`<cbc:ID>${category}</cbc:ID>`);
  });

  it('has tax ids for VAT ids only where they are some and VAT applies, and identifies by them elsewhere', async () => {
    const abroad = await ublOf(anInvoice({ buyer: { ...BUYER, taxId: '12-3456789' } }));
    expect(texts(abroad, 'cbc:CompanyID')).toEqual(['DE123456789']);
    expect(abroad).toMatch(/<cac:PartyIdentification>\s*<cbc:ID>12-3456789</);
    const untaxed = await ublOf(anInvoice({ taxes: [], tax: '0.00', total: '93.60' }));
    expect(texts(untaxed, 'cbc:CompanyID')).toEqual([]);
    expect(untaxed).toMatch(/<cac:PartyIdentification>\s*<cbc:ID>DE123456789</);
    expect(await ublOf(anInvoice({ buyer: BUYER }))).not.toContain('PartyIdentification');
  });

  it('sums what is not taxable apart, unless all is exempt', async () => {
    const lines = [aLine(), aLine({ amount: '10.00', unitPrice: '', taxable: false })];
    const xml = await ublOf(anInvoice({ lines, net: '103.60', total: '121.38' }));
    expect(texts(xml, 'cbc:TaxableAmount')).toEqual(['93.60', '10.00']);
    expect(texts(xml, 'cbc:TaxAmount').slice(1)).toEqual(['17.78', '0.00']);
    const exempt = { name: 'Exempt', percent: '0', base: '93.60', amount: '0.00', note: 'because' };
    const once = await ublOf(anInvoice({ lines, taxes: [exempt], net: '103.60', tax: '0.00', total: '103.60' }));
    expect(texts(once, 'cbc:TaxableAmount')).toEqual(['103.60']);
  });

  it.each([
    ['drafts', { state: 'draft', number: undefined, finalizedAt: undefined }],
    ['void invoices', { state: 'void' }],
    ['without a seller', { seller: undefined }],
    ['more than two digits', { currency: 'KWD' }],
    ['taxes in them', { pricesIncludeTax: true }],
    ['several taxes', { taxes: [...anInvoice().taxes, ...anInvoice().taxes] }],
    ['buyer without a country', { buyer: { name: 'A', addressLines: [], country: '', taxId: '', email: '' } }],
    ['seller without a tax id', { seller: { ...SELLER, taxId: '' } }],
    ['seller without a VAT id', { seller: { ...SELLER, taxId: '12/345/67890' } }],
    [
      'reverse charge to a buyer without a VAT id',
      { buyer: { ...BUYER, taxId: '12-3456789' }, taxes: [REVERSE_CHARGE], tax: '0.00', total: '93.60' },
    ],
    ['buyer without an e-mail', { buyer: { name: 'A', addressLines: [], country: 'IE', taxId: '', email: '' } }],
  ] as const)('is refused for %s', async (problem, change) => {
    const refused = ublOf(anInvoice(change));
    await expect(refused).rejects.toMatchObject({ kind: 'failed_precondition', field: 'format' });
    await expect(refused).rejects.toThrow(problem);
  });
});

describe('a credit note as UBL', () => {
  const reversal = aLine({ kind: 'discount', unit: '', unitPrice: '', quantity: '0', amount: '-3.60', taxable: false });
  const invoice = anInvoice({ lines: [aLine(), reversal] });
  const note = aCreditNote({
    lines: [
      { invoiceLine: 2, description: 'Discount', amount: '-1.00' },
      { invoiceLine: 1, description: 'CPU', amount: '50.00' },
    ],
    taxes: [{ name: 'VAT', percent: '19', base: '50.00', amount: '9.50', note: '' }],
    net: '49.00',
    tax: '9.50',
    total: '58.50',
  });

  it('says the same as the credit note, and which invoice it credits', async () => {
    const xml = await renderCreditNoteUbl(note, invoice);
    expect(xml).toContain('<CreditNote xmlns="urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2"');
    expect(texts(xml, 'cbc:CreditNoteTypeCode')).toEqual(['381']);
    expect(texts(xml, 'cbc:ID').slice(0, 2)).toEqual(['CN-000002', 'INV-000007']);
    // Its own, and that of the invoice. Nothing is due.
    expect([texts(xml, 'cbc:IssueDate'), texts(xml, 'cbc:DueDate')]).toEqual([['2026-10-20', '2026-10-02'], []]);
    expect(texts(xml, 'cbc:Note')).toEqual(['Reason: an outage']);
    expect(texts(xml, 'cbc:Name')).toEqual(['Discount', 'CPU']);
    expect(texts(xml, 'cbc:Description')).toEqual(['Line 2 of the invoice', 'Line 1 of the invoice']);
    expect(texts(xml, 'cbc:CreditedQuantity')).toEqual(['-1', '1']);
    expect(texts(xml, 'cbc:PriceAmount')).toEqual(['1.00', '50.00']);
    expect(texts(xml, 'cbc:LineExtensionAmount')).toEqual(['49.00', '-1.00', '50.00']);
    expect(texts(xml, 'cbc:TaxableAmount')).toEqual(['50.00', '-1.00']);
    expect(texts(xml, 'cbc:TaxAmount')).toEqual(['9.50', '9.50', '0.00']);
    expect(texts(xml, 'cbc:PayableAmount')).toEqual(['58.50']);
    expect(await renderCreditNoteUbl(note, invoice)).toBe(xml);
  });

  it('is refused where the norm has no words for it', async () => {
    const refused = renderCreditNoteUbl(note, { ...invoice, pricesIncludeTax: true });
    await expect(refused).rejects.toMatchObject({ kind: 'failed_precondition', field: 'format' });
  });
});
