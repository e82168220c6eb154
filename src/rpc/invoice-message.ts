import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import {
  type InvoiceLineSchema,
  type InvoiceSchema,
  InvoiceState,
  LineKind,
} from '../../gen/billing/v1/invoices_pb.ts';
import type { Invoice, InvoiceLine } from '../billing/invoice/invoice.ts';
import { CallerFault } from '../lib/failure.ts';

const STATES = {
  draft: InvoiceState.DRAFT,
  final: InvoiceState.FINAL,
  paid: InvoiceState.PAID,
  void: InvoiceState.VOID,
} as const satisfies Record<Invoice['state'], InvoiceState>;

const KINDS = {
  usage: LineKind.USAGE,
  flat: LineKind.FLAT,
  discount: LineKind.DISCOUNT,
  minimum: LineKind.MINIMUM,
  commitment: LineKind.COMMITMENT,
  overage: LineKind.OVERAGE,
  cap: LineKind.CAP,
  adjustment: LineKind.ADJUSTMENT,
  manual: LineKind.MANUAL,
} as const satisfies Record<InvoiceLine['kind'], LineKind>;

export function toInvoiceMessage(invoice: Invoice): MessageInitShape<typeof InvoiceSchema> {
  const { buyer, finalizedAt, dueAt, seller, voidedAt } = invoice;
  return {
    invoiceId: invoice.invoiceId,
    number: invoice.number ?? '',
    customerId: invoice.customerId,
    state: STATES[invoice.state],
    period: invoice.period,
    periodStart: timestampFromDate(invoice.periodStart),
    periodEnd: timestampFromDate(invoice.periodEnd),
    timeZone: invoice.timeZone,
    currency: invoice.currency,
    net: invoice.net,
    tax: invoice.tax,
    total: invoice.total,
    pricesIncludeTax: invoice.pricesIncludeTax,
    taxes: invoice.taxes.map((tax) => ({ ...tax })),
    lines: invoice.lines.map(toLineMessage),
    amountPaid: invoice.amountPaid,
    amountCredited: invoice.amountCredited,
    amountDue: invoice.amountDue,
    replacesInvoiceId: invoice.replacesInvoiceId ?? '',
    voidReason: invoice.voidReason,
    inputHash: invoice.inputHash,
    linesHash: invoice.linesHash,
    ...(finalizedAt === undefined ? {} : { finalizedAt: timestampFromDate(finalizedAt) }),
    ...(dueAt === undefined ? {} : { dueAt: timestampFromDate(dueAt) }),
    ...(voidedAt === undefined ? {} : { voidedAt: timestampFromDate(voidedAt) }),
    ...(seller === undefined
      ? {}
      : { seller: { ...seller, addressLines: [...seller.addressLines], paymentLines: [...seller.paymentLines] } }),
    ...(buyer === undefined ? {} : { customerName: buyer.name, customerDetails: detailsOf(buyer) }),
  };
}

/** @returns `undefined` where none is named @throws CallerFault where it is not known */
export function parseInvoiceState(state: InvoiceState): Invoice['state'] | undefined {
  if (state === InvoiceState.UNSPECIFIED) return undefined;
  for (const name of ['draft', 'final', 'paid', 'void'] as const) if (STATES[name] === state) return name;
  throw new CallerFault('invalid_argument', 'state', `state: ${String(state)} is not known`);
}

function toLineMessage(line: InvoiceLine): MessageInitShape<typeof InvoiceLineSchema> {
  const { adjustsInvoiceId, exchange, kind, manualLineId: _, ...same } = line;
  return {
    ...same,
    kind: KINDS[kind],
    start: timestampFromDate(line.start),
    end: timestampFromDate(line.end),
    regions: line.regions.map((region) => ({ ...region })),
    tiers: line.tiers.map((tier) => ({ ...tier })),
    adjustsInvoiceId: adjustsInvoiceId ?? '',
    ...(exchange === undefined ? {} : { exchange: { ...exchange } }),
  };
}

function detailsOf({ addressLines, country, email, taxId, name }: NonNullable<Invoice['buyer']>) {
  return { legalName: name, addressLines: [...addressLines], country, email, taxId };
}
