import { expect, it } from 'vitest';
import { viewCreditNote } from '../../../src/billing/documents/credit-note-view.ts';
import { aCreditNote, anInvoice } from './an-invoice.ts';

const texts = (all: readonly { readonly label: string; readonly value: string }[]): string[] => {
  return all.map(({ label, value }) => `${label}: ${value}`);
};

it('a credit note says what it credits, from whom to whom, why and how much, taxes apart', () => {
  const view = viewCreditNote(aCreditNote(), anInvoice());
  expect(view).toMatchObject({ title: 'Credit note', number: 'CN-000002', currency: 'EUR', payment: [] });
  expect(view.seller).toContain('Tax ID: DE123456789');
  expect(view.buyer).toContain('Tax ID: IE7');
  expect(texts(view.facts)).toEqual([
    'Date: 2026-10-20',
    'Credits: INV-000007',
    'Of: 2026-10-02',
    'Period: 2026-09-01 to 2026-09-30',
    'Customer: acme',
  ]);
  expect(view.lines).toMatchObject([{ description: 'CPU', details: ['Line 1 of the invoice'], amount: '1,046.80' }]);
  expect(texts(view.sums)).toEqual(['Net: 1,046.80', 'VAT 19 % on 1,046.80: 198.89', 'Total credited: 1,245.69']);
  expect(view.notes).toEqual(['Reason: an outage']);
});

it('a credit note over prices with taxes says that they are in them, and one without a tax why', () => {
  const taxes = [{ name: 'Exempt', percent: '0', base: '1046.80', amount: '0.00', note: 'a charity' }];
  const view = viewCreditNote(aCreditNote({ taxes }), anInvoice({ pricesIncludeTax: true }));
  expect(view.notes).toEqual(['a charity', 'Amounts of lines include the taxes.', 'Reason: an outage']);
  expect(texts(view.sums).slice(1)).toEqual(['Exempt: 0.00', 'Total credited, taxes included: 1,245.69']);
});
