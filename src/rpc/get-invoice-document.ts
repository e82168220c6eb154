import type { HandlerContext } from '@connectrpc/connect';
import { create, type MessageInitShape, toJsonString } from '@bufbuild/protobuf';
import {
  DocumentFormat,
  type GetInvoiceDocumentRequest,
  type GetInvoiceDocumentResponseSchema,
  InvoiceSchema,
} from '../../gen/billing/v1/invoices_pb.ts';
import { invoiceDocument, textDocument } from '../billing/documents/invoice-document.ts';
import type { Invoice } from '../billing/invoice/invoice.ts';
import { CallerFault } from '../lib/failure.ts';
import { invoiceInScope } from './invoice-in-scope.ts';
import { toInvoiceMessage } from './invoice-message.ts';
import type { Readable } from './readable-store.ts';

export function getInvoiceDocument(readable: Readable) {
  return async (
    request: GetInvoiceDocumentRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof GetInvoiceDocumentResponseSchema>> => {
    const { format, invoiceId } = request;
    const store = readable(context);
    const invoice = await invoiceInScope(store, context, invoiceId);
    switch (format) {
      case DocumentFormat.PDF:
        return invoiceDocument(store.db, invoice, 'pdf');
      case DocumentFormat.CSV:
        return invoiceDocument(store.db, invoice, 'csv');
      case DocumentFormat.UBL:
        return invoiceDocument(store.db, invoice, 'ubl');
      case DocumentFormat.JSON:
        return textDocument(invoice, jsonOf(invoice), 'application/json', 'json');
      case DocumentFormat.UNSPECIFIED:
        throw new CallerFault('invalid_argument', 'format', 'format: none is named; PDF, JSON, CSV and UBL can be had');
      default: {
        const message = `format: ${String(format)} is none of PDF (1), JSON (2), CSV (3) and UBL (4)`;
        throw new CallerFault('invalid_argument', 'format', message);
      }
    }
  };
}

/** The message that GetInvoice answers, as JSON of the contract. */
function jsonOf(invoice: Invoice): string {
  const message = create(InvoiceSchema, toInvoiceMessage(invoice));
  return toJsonString(InvoiceSchema, message, { alwaysEmitImplicit: true, prettySpaces: 2 });
}
