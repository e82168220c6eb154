import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { UpdateCustomerRequest, UpdateCustomerResponseSchema } from '../../gen/billing/v1/customers_pb.ts';
import { updateCustomer as update } from '../billing/customers.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';
import { toCustomerMessage, toDetails } from './customer-message.ts';

export function updateCustomer(store: BillingStore) {
  return async (
    request: UpdateCustomerRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof UpdateCustomerResponseSchema>> => {
    const wanted = { ...request, details: toDetails(request.details) };
    return { customer: toCustomerMessage(await update(store, wanted, callerOf(context).keyId)) };
  };
}
