import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CreateCustomerRequest, CreateCustomerResponseSchema } from '../../gen/billing/v1/customers_pb.ts';
import { createCustomer as create } from '../billing/customers.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';
import { toCustomerMessage, toDetails } from './customer-message.ts';

export function createCustomer(store: BillingStore) {
  return async (
    request: CreateCustomerRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof CreateCustomerResponseSchema>> => {
    const wanted = { ...request, details: toDetails(request.details) };
    return { customer: toCustomerMessage(await create(store, wanted, callerOf(context).keyId)) };
  };
}
