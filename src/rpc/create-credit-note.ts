import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CreateCreditNoteRequest, CreateCreditNoteResponseSchema } from '../../gen/billing/v1/credit_notes_pb.ts';
import { createCreditNote as create } from '../billing/invoice/credit-notes.ts';
import type { InvoicingStore } from '../billing/invoice/invoicing-store.ts';
import { CallerFault } from '../lib/failure.ts';
import { callerOf } from './auth.ts';
import { toCreditNoteMessage } from './credit-note-message.ts';

export function createCreditNote(store: InvoicingStore) {
  return async (
    request: CreateCreditNoteRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof CreateCreditNoteResponseSchema>> => {
    const { keyId, role } = callerOf(context);
    if (role === 'customer') {
      const message = `CreateCreditNote needs a key of role operator or admin; key ${keyId} is of role customer`;
      throw new CallerFault('permission_denied', 'authorization', message);
    }
    const { idempotencyKey, invoiceId, reason } = request;
    const lines = request.lines.map(({ invoiceLine, amount }) => ({ invoiceLine, amount }));
    return {
      creditNote: toCreditNoteMessage(await create(store, { idempotencyKey, invoiceId, reason, lines }, keyId)),
    };
  };
}
