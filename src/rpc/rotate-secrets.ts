import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { RotateSecretsRequest, RotateSecretsResponseSchema } from '../../gen/billing/v1/secrets_pb.ts';
import type { SecretStore } from '../access/secrets/secret-store.ts';
import { callerOf } from './auth.ts';

export function rotateSecrets(secrets: SecretStore) {
  return async (
    { newKey }: RotateSecretsRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof RotateSecretsResponseSchema>> => {
    const rotation = await secrets.rotate(newKey, callerOf(context).keyId, context.signal);
    const failed = rotation.failed.map(({ customerId, name }) => ({ customerId, name }));
    return { wrappingKeyId: rotation.wrappingKeyId, rewrapped: BigInt(rotation.rewrapped), failed };
  };
}
