import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { PaymentSchema } from '../../gen/billing/v1/invoices_pb.ts';
import type { Payment } from '../billing/invoice/payments.ts';

export function toPaymentMessage(payment: Payment): MessageInitShape<typeof PaymentSchema> {
  return {
    ...payment,
    paidAt: timestampFromDate(payment.paidAt),
    recordedAt: timestampFromDate(payment.recordedAt),
    reversesPaymentId: payment.reversesPaymentId ?? '',
  };
}
