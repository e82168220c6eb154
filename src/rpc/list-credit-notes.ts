import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListCreditNotesRequest, ListCreditNotesResponseSchema } from '../../gen/billing/v1/credit_notes_pb.ts';
import { listCreditNotes as list } from '../billing/invoice/read-credit-notes.ts';
import { customerInScope } from './auth.ts';
import { toCreditNoteMessage } from './credit-note-message.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';
import type { Readable } from './readable-store.ts';

/** The credit note. */
const TOKEN = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function listCreditNotes(readable: Readable) {
  return async (
    request: ListCreditNotesRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof ListCreditNotesResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const before = fromPageToken(request.pageToken, TOKEN);
    const customerId = customerInScope(context, request.customerId);
    const filter = {
      customerId: customerId === '' ? undefined : customerId,
      invoiceId: request.invoiceId === '' ? undefined : request.invoiceId,
      before,
    };
    const { page, nextPageToken } = pageOf(
      await list(readable(context).db, filter, size + 1),
      size,
      (note) => note.creditNoteId,
    );
    return { creditNotes: page.map(toCreditNoteMessage), nextPageToken };
  };
}
