import type { HandlerContext } from '@connectrpc/connect';
import { type CreditNote, getCreditNote } from '../billing/invoice/read-credit-notes.ts';
import type { BillingStore } from '../billing/store.ts';
import { CallerFault } from '../lib/failure.ts';
import { customerInScope } from './auth.ts';

/** A credit note that the caller may see. @throws CallerFault not_found */
export async function creditNoteInScope(
  { db }: BillingStore,
  context: HandlerContext,
  creditNoteId: string,
): Promise<CreditNote> {
  const note = await getCreditNote(db, creditNoteId);
  const ownId = customerInScope(context, '');
  if (ownId === '' || ownId === note.customerId) return note;
  // As if it were not there: whether somebody else's credit note exists is nobody's business.
  const message = `credit_note_id: there is no credit note ${JSON.stringify(creditNoteId)}`;
  throw new CallerFault('not_found', 'credit_note_id', message);
}
