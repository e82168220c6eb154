import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PutSecretRequest, PutSecretResponseSchema } from '../../gen/billing/v1/secrets_pb.ts';
import type { SecretStore } from '../access/secrets/secret-store.ts';
import { getActiveCustomer } from '../billing/customers.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';
import { toSecretMessage } from './secret-message.ts';

export function putSecret(secrets: SecretStore, { db }: BillingStore) {
  return async (
    request: PutSecretRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof PutSecretResponseSchema>> => {
    const { customerId, name, value } = request;
    // A secret of nobody would never be erased with its customer.
    if (customerId !== '') await getActiveCustomer(db, customerId);
    return { secret: toSecretMessage(await secrets.put({ customerId, name }, value, callerOf(context).keyId)) };
  };
}
