import { type Invoice, type InvoiceLine, InvoiceState, type InvoiceTax } from '../../gen/billing/v1/invoices_pb.ts';
import { type Columns, record, table } from './table.ts';
import { named, shown } from './values.ts';

/** An invoice in one line. */
export const INVOICES: Columns<Invoice> = {
  Number: (row) => row.number,
  Id: (row) => row.invoiceId,
  Customer: (row) => row.customerId,
  Period: (row) => row.period,
  State: (row) => named(InvoiceState, row.state),
  Total: (row) => row.total,
  Due: (row) => row.amountDue,
  Currency: (row) => row.currency,
  'Due at': (row) => shown(row.dueAt),
};

const HEAD: Columns<Invoice> = {
  ...INVOICES,
  From: (row) => shown(row.periodStart),
  Until: (row) => shown(row.periodEnd),
  'Time zone': (row) => row.timeZone,
  Final: (row) => shown(row.finalizedAt),
  Replaces: (row) => row.replacesInvoiceId,
  Voided: (row) => shown(row.voidedAt),
  'Void reason': (row) => row.voidReason,
  Net: (row) => row.net,
  Tax: (row) => row.tax,
  Paid: (row) => row.amountPaid,
  Credited: (row) => row.amountCredited,
};

const LINES: Columns<InvoiceLine> = {
  Line: (row) => row.description,
  Quantity: (row) => row.quantity,
  Estimated: (row) => row.estimated,
  Included: (row) => row.included,
  Unit: (row) => row.unit,
  Price: (row) => row.unitPrice,
  Amount: (row) => row.amount,
};

const TAXES: Columns<InvoiceTax> = {
  Tax: (row) => row.name,
  Percent: (row) => row.percent,
  On: (row) => row.base,
  Amount: (row) => row.amount,
  Note: (row) => row.note,
};

/** An invoice with its lines and taxes. */
export function invoiceText(invoice: Invoice): string {
  const taxes = invoice.taxes.length === 0 ? '' : `\n${table(TAXES, invoice.taxes)}`;
  return `${table(LINES, invoice.lines)}${taxes}\n${record(HEAD, invoice)}`;
}
