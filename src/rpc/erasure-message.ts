import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { ErasureReceiptSchema } from '../../gen/billing/v1/customers_pb.ts';
import type { ErasureReceipt } from '../billing/erase-customer.ts';

export function toReceiptMessage(receipt: ErasureReceipt): MessageInitShape<typeof ErasureReceiptSchema> {
  const { erasureId, customerId, reason, requestedBy, requestedAt, completedAt, removed, kept } = receipt;
  return {
    erasureId,
    customerId,
    reason,
    requestedBy,
    requestedAt: timestampFromDate(requestedAt),
    ...(completedAt === undefined ? {} : { completedAt: timestampFromDate(completedAt) }),
    removed: toCounts(removed),
    kept: toCounts(kept),
  };
}

function toCounts(rows: Readonly<Record<string, number>>): Record<string, bigint> {
  return Object.fromEntries(Object.entries(rows).map(([table, count]) => [table, BigInt(count)]));
}
