import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { CustomerSchema } from '../../gen/billing/v1/customers_pb.ts';
import type { Customer } from '../billing/customers.ts';

export function toCustomerMessage(customer: Customer): MessageInitShape<typeof CustomerSchema> {
  const { customerId, name, currency, createdAt } = customer;
  return { customerId, name, currency, createdAt: timestampFromDate(createdAt), registered: true };
}
