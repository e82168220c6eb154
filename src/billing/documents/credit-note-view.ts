import type { Invoice } from '../invoice/invoice.ts';
import type { CreditNote, CreditNoteLine } from '../invoice/read-credit-notes.ts';
import { dayOf, descriptionOf, grouped, type InvoiceView, partyLines, periodOf, sum, taxSum } from './invoice-view.ts';

/** @param invoice the one that it credits: buyer and seller are those of then */
export function viewCreditNote(note: CreditNote, invoice: Invoice): InvoiceView {
  const { seller, buyer, pricesIncludeTax } = invoice;
  const notes = note.taxes.map((tax) => tax.note).filter((text) => text !== '');
  if (pricesIncludeTax) notes.push('Amounts of lines include the taxes.');
  return {
    title: 'Credit note',
    number: note.number,
    watermark: '',
    seller: seller === undefined ? [] : partyLines(seller),
    buyer: buyer === undefined ? [note.customerId] : partyLines(buyer),
    facts: factsOf(note, invoice),
    currency: note.currency,
    lines: note.lines.map(viewLine),
    sums: [
      sum('Net', note.net),
      ...note.taxes.map(taxSum),
      sum(pricesIncludeTax ? 'Total credited, taxes included' : 'Total credited', note.total, true),
    ],
    notes: [...notes, `Reason: ${note.reason}`],
    payment: [],
  };
}

function factsOf(note: CreditNote, invoice: Invoice): InvoiceView['facts'] {
  const { timeZone, finalizedAt } = invoice;
  return [
    { label: 'Date', value: dayOf(note.issuedAt, timeZone) },
    { label: 'Credits', value: note.invoiceNumber },
    ...(finalizedAt === undefined ? [] : [{ label: 'Of', value: dayOf(finalizedAt, timeZone) }]),
    { label: 'Period', value: periodOf(invoice) },
    { label: 'Customer', value: note.customerId },
  ];
}

function viewLine(line: CreditNoteLine): InvoiceView['lines'][number] {
  const details = [`Line ${line.invoiceLine} of the invoice`];
  const nothing = { quantity: '', unit: '', price: '' };
  return { description: descriptionOf(line), details, ...nothing, amount: grouped(line.amount) };
}
