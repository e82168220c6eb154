import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { ManualLineSchema } from '../../gen/billing/v1/invoices_pb.ts';
import type { StoredManualLine } from '../billing/invoice/manual-lines.ts';

export function toManualLineMessage({ taxable, ...line }: StoredManualLine): MessageInitShape<typeof ManualLineSchema> {
  return { ...line, notTaxable: !taxable, at: timestampFromDate(line.at), addedAt: timestampFromDate(line.addedAt) };
}
