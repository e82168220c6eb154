import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetCustomerRequest, GetCustomerResponseSchema } from '../../gen/billing/v1/customers_pb.ts';
import { getCustomer as get } from '../billing/customers.ts';
import { customerInScope } from './auth.ts';
import { toCustomerMessage } from './customer-message.ts';
import type { Readable } from './readable-store.ts';

export function getCustomer(readable: Readable) {
  return async (
    request: GetCustomerRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof GetCustomerResponseSchema>> => {
    const { db } = readable(context);
    return { customer: toCustomerMessage(await get(db, customerInScope(context, request.customerId))) };
  };
}
