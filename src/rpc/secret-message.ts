import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { SecretSchema } from '../../gen/billing/v1/secrets_pb.ts';
import type { Secret } from '../access/secrets/secret-store.ts';

export function toSecretMessage(secret: Secret): MessageInitShape<typeof SecretSchema> {
  const { customerId, name, wrappingKeyId, putAt, putBy } = secret;
  return { customerId, name, wrappingKeyId, putAt: timestampFromDate(putAt), putBy };
}
