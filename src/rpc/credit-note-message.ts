import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { CreditNoteSchema } from '../../gen/billing/v1/credit_notes_pb.ts';
import type { CreditNote } from '../billing/invoice/read-credit-notes.ts';

export function toCreditNoteMessage(note: CreditNote): MessageInitShape<typeof CreditNoteSchema> {
  return {
    ...note,
    issuedAt: timestampFromDate(note.issuedAt),
    lines: note.lines.map((line) => ({ ...line })),
    taxes: note.taxes.map((tax) => ({ ...tax })),
  };
}
