import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetCreditNoteRequest, GetCreditNoteResponseSchema } from '../../gen/billing/v1/credit_notes_pb.ts';
import { creditNoteInScope } from './credit-note-in-scope.ts';
import { toCreditNoteMessage } from './credit-note-message.ts';
import type { Readable } from './readable-store.ts';

export function getCreditNote(readable: Readable) {
  return async (
    request: GetCreditNoteRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof GetCreditNoteResponseSchema>> => {
    return {
      creditNote: toCreditNoteMessage(await creditNoteInScope(readable(context), context, request.creditNoteId)),
    };
  };
}
