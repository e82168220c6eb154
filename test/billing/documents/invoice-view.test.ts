import { describe, expect, it } from 'vitest';
import { dayOf, grouped, viewInvoice } from '../../../src/billing/documents/invoice-view.ts';
import { aLine, anInvoice } from './an-invoice.ts';

const HUNDRED = { quantity: '100', unitPrice: '1.00', flatAmount: '5.00', amount: '105.000' };
const EARLIER = '019a0000-0000-7000-8000-0000000000aa';
const NAMED = new Map([[EARLIER, { number: 'INV-000003', period: '2026-07' }]]);

function detailsOf(...change: Parameters<typeof aLine>): readonly string[] {
  return viewInvoice(anInvoice({ lines: [aLine(...change)] }), NAMED).lines[0]?.details ?? [];
}

function sumsOf(...change: Parameters<typeof anInvoice>): string[] {
  return viewInvoice(anInvoice(...change), NAMED).sums.map(({ label, value }) => `${label}: ${value}`);
}

describe('an invoice on paper', () => {
  it('says who, when, what and how much', () => {
    const view = viewInvoice(anInvoice(), NAMED);
    expect(view).toMatchObject({ title: 'Invoice', number: 'INV-000007', watermark: '', notes: [] });
    expect(view.seller).toContain('Tax ID: DE123456789');
    expect(view.buyer).toEqual(['Acme Ltd', '1 Main Street', 'IE', 'Tax ID: IE7', 'acme@acme.example']);
    expect(view.facts).toEqual([
      { label: 'Date', value: '2026-10-02' },
      { label: 'Due', value: '2026-11-01' },
      { label: 'Period', value: '2026-09-01 to 2026-09-30' },
      { label: 'Time zone', value: 'UTC' },
      { label: 'Customer', value: 'acme' },
    ]);
    expect(view.lines).toEqual([
      {
        description: 'CPU',
        details: ['eu: 1,440 · us: 432'],
        quantity: '1,872',
        unit: 'core-hour',
        price: '0.05',
        amount: '93.60',
      },
    ]);
    expect(sumsOf()).toEqual(['Net: 93.60', 'VAT 19 % on 93.60: 17.78', 'Total: 111.38', 'Due: 111.38']);
  });

  it.each([
    ['part of a period', { end: new Date('2026-09-16T00:00:00Z'), regions: [] }, ['2026-09-01 to 2026-09-15']],
    [
      'a change in the middle of an hour',
      { start: new Date('2026-09-15T10:15:30Z'), regions: [] },
      ['2026-09-15 10:15:30 to 2026-10-01 00:00:00'],
    ],
    [
      'estimates',
      { quantity: '1872.5', estimated: '0.1', regions: [] },
      ['Observed 1,872.4 core-hour, estimated 0.1 core-hour'],
    ],
    ['an allowance', { included: '744', regions: [] }, ['Included: 744 core-hour']],
    ['tiers', { tiers: [HUNDRED], amount: '105.00', unitPrice: '', regions: [] }, ['100 × 1.00 + 5.00 = 105']],
    [
      'tiers above the cap',
      { tiers: [HUNDRED], amount: '93.60', unitPrice: '', regions: [] },
      ['100 × 1.00 + 5.00 = 105', 'Capped at 93.60'],
    ],
    ['a price above the cap', { unitPrice: '', regions: [] }, ['Capped at 93.60']],
    [
      'an allowance that covers all of it',
      { unitPrice: '', included: '1872', amount: '0.00', regions: [] },
      ['Included: 1,872 core-hour'],
    ],
    [
      'another currency',
      { exchange: { fromCurrency: 'USD', rate: '0.91', day: '2026-09-30', source: 'ECB' }, regions: [] },
      ['1 USD = 0.91 EUR on 2026-09-30 (ECB)'],
    ],
    [
      'an adjustment',
      {
        kind: 'adjustment',
        adjustsInvoiceId: EARLIER,
        start: new Date('2026-07-01T00:00:00Z'),
        end: new Date('2026-08-01T00:00:00Z'),
        regions: [],
      },
      ['Corrects INV-000003 of 2026-07', '2026-07-01 to 2026-07-31'],
    ],
  ] as const)('explains %s', (_, change, details) => {
    expect(detailsOf(change)).toEqual(details);
  });

  it('shows long quantities to six digits, and says so', () => {
    const view = viewInvoice(anInvoice({ lines: [aLine({ quantity: '0.2583333333333333', regions: [] })] }), NAMED);
    expect(view.lines[0]?.quantity).toBe('0.258333');
    expect(view.notes).toEqual(['Quantities are shown to 6 digits; amounts are computed from all digits.']);
  });

  it('takes what was credited and paid off what is due', () => {
    const change = { amountCredited: '11.38', amountPaid: '50.00', amountDue: '50.00' };
    expect(sumsOf(change).slice(3)).toEqual(['Credited: -11.38', 'Paid: -50.00', 'Due: 50.00']);
  });

  it('says why there is no tax', () => {
    const taxes = [{ name: 'Reverse charge', percent: '0', base: '93.60', amount: '0.00', note: 'The buyer owes it' }];
    const invoice = anInvoice({ taxes, tax: '0.00', total: '93.60' });
    expect(viewInvoice(invoice, NAMED).notes).toEqual(['The buyer owes it']);
    expect(sumsOf({ taxes, tax: '0.00', total: '93.60', amountDue: '93.60' })).toEqual([
      'Net: 93.60',
      'Reverse charge: 0.00',
      'Total: 93.60',
      'Due: 93.60',
    ]);
  });

  it.each([
    ['draft', { state: 'draft', number: undefined, finalizedAt: undefined, dueAt: undefined }, 'DRAFT', 'Draft'],
    ['void', { state: 'void', voidedAt: new Date('2026-10-05T00:00:00Z'), voidReason: 'wrong' }, 'VOID', 'INV-000007'],
  ] as const)('marks a %s, of which nothing is due', (_, change, watermark, number) => {
    const view = viewInvoice(anInvoice(change), NAMED);
    expect(view).toMatchObject({ watermark, number });
    expect(view.sums.map((sum) => sum.label)).not.toContain('Due');
  });

  it('is called a credit below zero, and says neither when nor how to pay', () => {
    const view = viewInvoice(anInvoice({ total: '-5.00', amountDue: '0.00', state: 'paid' }), NAMED);
    expect(view).toMatchObject({ title: 'Credit', payment: [] });
    expect(view.facts.map(({ label }) => label)).not.toContain('Due');
    expect(viewInvoice(anInvoice({ amountDue: '0.00', state: 'paid' }), NAMED).payment).toEqual([]);
    expect(viewInvoice(anInvoice({ state: 'draft', amountDue: '0' }), NAMED).payment).toHaveLength(1);
  });

  it('has a quantity and a day for a line by hand, and a name for a discount without one', () => {
    const start = new Date('2026-09-13T10:15:30Z');
    const end = new Date(start.getTime() + 1000);
    const none = { regions: [], unit: '', chargeId: '' };
    const byHand = aLine({ ...none, kind: 'manual', quantity: '2', unitPrice: '10.5', amount: '21.00', start, end });
    const discount = aLine({
      ...none,
      kind: 'discount',
      description: '',
      quantity: '0',
      unitPrice: '',
      amount: '-5.00',
    });
    expect(viewInvoice(anInvoice({ lines: [byHand, discount] }), NAMED).lines).toMatchObject([
      { quantity: '2', price: '10.5', amount: '21.00', details: ['2026-09-13'] },
      { description: 'Discount', quantity: '', price: '', amount: '-5.00', details: [] },
    ]);
  });

  it('tells days in the time zone of the invoice', () => {
    const invoice = anInvoice({
      timeZone: 'Europe/Berlin',
      periodStart: new Date('2026-09-30T22:00:00Z'),
      periodEnd: new Date('2026-10-31T23:00:00Z'),
    });
    expect(viewInvoice(invoice, NAMED).facts).toContainEqual({ label: 'Period', value: '2026-10-01 to 2026-10-31' });
    expect(dayOf(new Date('2026-10-02T23:30:00Z'), 'Asia/Kathmandu')).toBe('2026-10-03');
  });

  it.each([
    ['1872', '1,872'],
    ['-1234567.5000', '-1,234,567.5000'],
    ['999.9999', '999.9999'],
    ['0.00', '0.00'],
  ])('writes %s as %s', (text, shown) => {
    expect(grouped(text)).toBe(shown);
  });
});
