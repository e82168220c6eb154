import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { DeleteSecretRequest, DeleteSecretResponseSchema } from '../../gen/billing/v1/secrets_pb.ts';
import type { SecretStore } from '../access/secrets/secret-store.ts';
import { callerOf } from './auth.ts';

export function deleteSecret(secrets: SecretStore) {
  return async (
    { customerId, name }: DeleteSecretRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof DeleteSecretResponseSchema>> => {
    await secrets.delete({ customerId, name }, callerOf(context).keyId);
    return {};
  };
}
