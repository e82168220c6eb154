import type { Invoice, InvoiceLine } from '../../../src/billing/invoice/invoice.ts';
import type { CreditNote } from '../../../src/billing/invoice/read-credit-notes.ts';

/** A line of 1,872 core-hours at 0.05, as in the worked example, unless said otherwise. */
export function aLine(change: Partial<InvoiceLine> = {}): InvoiceLine {
  return {
    kind: 'usage',
    chargeId: 'cpu',
    meter: 'cpu',
    description: 'CPU',
    quantity: '1872',
    unit: 'core-hour',
    included: '0',
    estimated: '0',
    unitPrice: '0.05',
    amount: '93.60',
    tiers: [],
    start: new Date('2026-09-01T00:00:00Z'),
    end: new Date('2026-10-01T00:00:00Z'),
    planId: 'basic',
    planVersion: 1,
    regions: [
      { region: 'eu', quantity: '1440' },
      { region: 'us', quantity: '432' },
    ],
    taxable: true,
    exchange: undefined,
    adjustsInvoiceId: undefined,
    manualLineId: undefined,
    ...change,
  };
}

/** A final invoice of one such line, unless said otherwise. */
export function anInvoice(change: Partial<Invoice> = {}): Invoice {
  return {
    invoiceId: '019a0000-0000-7000-8000-000000000001',
    number: 'INV-000007',
    customerId: 'acme',
    state: 'final',
    period: '2026-09',
    periodStart: new Date('2026-09-01T00:00:00Z'),
    periodEnd: new Date('2026-10-01T00:00:00Z'),
    timeZone: 'UTC',
    currency: 'EUR',
    net: '93.60',
    tax: '17.78',
    total: '111.38',
    taxes: [{ name: 'VAT', percent: '19', base: '93.60', amount: '17.78', note: '' }],
    pricesIncludeTax: false,
    lines: [aLine()],
    finalizedAt: new Date('2026-10-02T00:00:00Z'),
    dueAt: new Date('2026-11-01T00:00:00Z'),
    amountPaid: '0.00',
    amountCredited: '0.00',
    amountDue: '111.38',
    replacesInvoiceId: undefined,
    voidedAt: undefined,
    voidReason: '',
    seller: {
      name: 'Cloud GmbH',
      addressLines: ['Hauptstraße 1', '10115 Berlin'],
      country: 'DE',
      taxId: 'DE123456789',
      email: 'billing@cloud.example',
      paymentLines: ['IBAN DE02 1203 0000 0000 2020 51'],
    },
    buyer: {
      name: 'Acme Ltd',
      addressLines: ['1 Main Street'],
      country: 'IE',
      taxId: 'IE7',
      email: 'acme@acme.example',
    },
    inputHash: '',
    linesHash: '',
    ...change,
  };
}

/** Of the first line of `anInvoice`, unless said otherwise. */
export function aCreditNote(change: Partial<CreditNote> = {}): CreditNote {
  return {
    creditNoteId: '019a0000-0000-7000-8000-000000000002',
    number: 'CN-000002',
    invoiceId: '019a0000-0000-7000-8000-000000000001',
    invoiceNumber: 'INV-000007',
    customerId: 'acme',
    issuedAt: new Date('2026-10-20T00:00:00Z'),
    currency: 'EUR',
    reason: 'an outage',
    lines: [{ invoiceLine: 1, description: 'CPU', amount: '1046.80' }],
    taxes: [{ name: 'VAT', percent: '19', base: '1046.80', amount: '198.89', note: '' }],
    net: '1046.80',
    tax: '198.89',
    total: '1245.69',
    ...change,
  };
}
