import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetCreditNoteRequest, GetCreditNoteResponseSchema } from '../../gen/billing/v1/credit_notes_pb.ts';
import { getCreditNote as get } from '../billing/invoice/read-credit-notes.ts';
import type { BillingStore } from '../billing/store.ts';
import { CallerFault } from '../lib/failure.ts';
import { customerInScope } from './auth.ts';
import { toCreditNoteMessage } from './credit-note-message.ts';

export function getCreditNote({ db }: BillingStore) {
  return async (
    request: GetCreditNoteRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof GetCreditNoteResponseSchema>> => {
    const note = await get(db, request.creditNoteId);
    const ownId = customerInScope(context, '');
    if (ownId !== '' && ownId !== note.customerId) {
      // As if it were not there: whether somebody else's credit note exists is nobody's business.
      const message = `credit_note_id: there is no credit note ${JSON.stringify(request.creditNoteId)}`;
      throw new CallerFault('not_found', 'credit_note_id', message);
    }
    return { creditNote: toCreditNoteMessage(note) };
  };
}
