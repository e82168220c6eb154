import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetCustomerRequest, GetCustomerResponseSchema } from '../../gen/billing/v1/customers_pb.ts';
import { getCustomer as get } from '../billing/customers.ts';
import type { BillingStore } from '../billing/store.ts';
import { customerInScope } from './auth.ts';
import { toCustomerMessage } from './customer-message.ts';

export function getCustomer({ db }: BillingStore) {
  return async (
    request: GetCustomerRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof GetCustomerResponseSchema>> => {
    return { customer: toCustomerMessage(await get(db, customerInScope(context, request.customerId))) };
  };
}
