import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PutSellerRequest, PutSellerResponseSchema } from '../../gen/billing/v1/invoices_pb.ts';
import { putSeller as put } from '../billing/seller.ts';
import type { BillingStore } from '../billing/store.ts';
import { CallerFault } from '../lib/failure.ts';
import { callerOf } from './auth.ts';
import { toSellerMessage } from './seller-message.ts';

export function putSeller(store: BillingStore) {
  return async (
    request: PutSellerRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof PutSellerResponseSchema>> => {
    const { seller } = request;
    if (seller === undefined) throw new CallerFault('invalid_argument', 'seller', 'seller is missing');
    return { seller: toSellerMessage(await put(store, seller, callerOf(context).keyId)) };
  };
}
