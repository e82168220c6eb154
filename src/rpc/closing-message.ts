import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { ClosingSchema } from '../../gen/billing/v1/invoices_pb.ts';
import type { Closing } from '../billing/invoice/closings.ts';

export function toClosingMessage({ failedAt, ...closing }: Closing): MessageInitShape<typeof ClosingSchema> {
  return {
    ...closing,
    periodStart: timestampFromDate(closing.periodStart),
    periodEnd: timestampFromDate(closing.periodEnd),
    invoiceId: closing.invoiceId ?? '',
    ...(failedAt === undefined ? {} : { failedAt: timestampFromDate(failedAt) }),
  };
}
