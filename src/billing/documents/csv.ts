import type { Invoice, InvoiceLine } from '../invoice/invoice.ts';
import type { NamedInvoices } from './invoice-view.ts';

/** A column: its name, and a line's cell in it. Numbers are exact decimals with all digits; times are ISO 8601 in UTC. */
type Column = readonly [name: string, cell: (line: InvoiceLine, position: number) => string];

/**
 * RFC 4180, in UTF-8, with a header and a row per line; regions as "eu=400 us=200". Taxes are not in it: the amounts add up to the net,
 * or to the total where prices include taxes.
 */
export function renderCsv(invoice: Invoice, named: NamedInvoices): string {
  const columns = columnsOf(invoice, named);
  const rows = invoice.lines.map((line, index) => columns.map(([, cell]) => cell(line, index + 1)));
  const head = columns.map(([name]) => name);
  return [head, ...rows].map((cells) => `${cells.map(quoted).join(',')}\r\n`).join('');
}

function columnsOf(invoice: Invoice, named: NamedInvoices): Column[] {
  const numberOf = (id: string | undefined) => (id === undefined ? '' : (named.get(id)?.number ?? id));
  return [
    ['invoice_id', () => invoice.invoiceId],
    ['number', () => safe(invoice.number ?? '')],
    ['state', () => invoice.state],
    ['customer_id', () => safe(invoice.customerId)],
    ['period', () => invoice.period],
    ['currency', () => invoice.currency],
    ['position', (_, position) => String(position)],
    ['kind', (line) => line.kind],
    ['charge_id', (line) => safe(line.chargeId)],
    ['meter', (line) => safe(line.meter)],
    ['description', (line) => safe(line.description)],
    ['start', (line) => line.start.toISOString()],
    ['end', (line) => line.end.toISOString()],
    ['quantity', (line) => line.quantity],
    ['included', (line) => line.included],
    ['estimated', (line) => line.estimated],
    ['unit', (line) => safe(line.unit)],
    ['unit_price', (line) => line.unitPrice],
    ['amount', (line) => line.amount],
    ['taxable', (line) => String(line.taxable)],
    ['plan_id', (line) => safe(line.planId)],
    ['plan_version', (line) => (line.planVersion === 0 ? '' : String(line.planVersion))],
    ['regions', (line) => safe(line.regions.map(({ region, quantity }) => `${region}=${quantity}`).join(' '))],
    ['adjusts', (line) => safe(numberOf(line.adjustsInvoiceId))],
    ['exchange_from', (line) => line.exchange?.fromCurrency ?? ''],
    ['exchange_rate', (line) => line.exchange?.rate ?? ''],
    ['exchange_day', (line) => line.exchange?.day ?? ''],
    ['exchange_source', (line) => safe(line.exchange?.source ?? '')],
  ];
}

/** Spreadsheets run text that starts like a formula, and names come from outside: an apostrophe before it makes it text. */
function safe(text: string): string {
  return /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
}

function quoted(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
