import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  GetCreditNoteDocumentRequest,
  GetCreditNoteDocumentResponseSchema,
} from '../../gen/billing/v1/credit_notes_pb.ts';
import { DocumentFormat } from '../../gen/billing/v1/invoices_pb.ts';
import { creditNoteDocument } from '../billing/documents/invoice-document.ts';
import { getInvoice } from '../billing/invoice/read-invoices.ts';
import { CallerFault } from '../lib/failure.ts';
import { creditNoteInScope } from './credit-note-in-scope.ts';
import type { Readable } from './readable-store.ts';

export function getCreditNoteDocument(readable: Readable) {
  return async (
    { creditNoteId, format }: GetCreditNoteDocumentRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof GetCreditNoteDocumentResponseSchema>> => {
    const store = readable(context);
    const note = await creditNoteInScope(store, context, creditNoteId);
    const kind = kindOf(format);
    return creditNoteDocument(note, await getInvoice(store.db, note.invoiceId), kind);
  };
}

function kindOf(format: DocumentFormat): 'pdf' | 'ubl' {
  if (format === DocumentFormat.PDF) return 'pdf';
  if (format === DocumentFormat.UBL) return 'ubl';
  const message = `format: ${String(format)} is none of those of a credit note, PDF (1) and UBL (4)`;
  throw new CallerFault('invalid_argument', 'format', message);
}
