import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { RemoveManualLineRequest, RemoveManualLineResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { removeManualLine as remove } from '../billing/invoice/manual-lines.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';

export function removeManualLine(store: BillingStore) {
  return async (
    request: RemoveManualLineRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof RemoveManualLineResponseSchema>> => {
    await remove(store, request.manualLineId, callerOf(context).keyId);
    return {};
  };
}
