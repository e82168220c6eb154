import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type InvoiceSchema, InvoiceState } from '../../gen/billing/v1/invoices_pb.ts';
import type { Invoice } from '../billing/invoice/invoice.ts';

const STATES = { draft: InvoiceState.DRAFT, final: InvoiceState.FINAL } as const satisfies Record<
  Invoice['state'],
  InvoiceState
>;

export function toInvoiceMessage(invoice: Invoice): MessageInitShape<typeof InvoiceSchema> {
  const { finalizedAt, lines } = invoice;
  return {
    invoiceId: invoice.invoiceId,
    number: invoice.number ?? '',
    customerId: invoice.customerId,
    state: STATES[invoice.state],
    periodStart: timestampFromDate(invoice.periodStart),
    periodEnd: timestampFromDate(invoice.periodEnd),
    currency: invoice.currency,
    total: invoice.total,
    lines: lines.map((line) => ({
      ...line,
      start: timestampFromDate(line.start),
      end: timestampFromDate(line.end),
      regions: [...line.regions],
    })),
    ...(finalizedAt === undefined ? {} : { finalizedAt: timestampFromDate(finalizedAt) }),
  };
}
