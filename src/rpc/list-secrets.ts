import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListSecretsRequest, ListSecretsResponseSchema } from '../../gen/billing/v1/secrets_pb.ts';
import type { SecretStore } from '../access/secrets/secret-store.ts';
import { pageSize } from './fields.ts';
import { fromPageToken, pageOf } from './page-token.ts';
import { toSecretMessage } from './secret-message.ts';

/** The customer, or none, and the name. Ids have no control characters. */
const TOKEN = /^[^\0]*\0[^\0]+$/u;

export function listSecrets(secrets: SecretStore) {
  return async (request: ListSecretsRequest): Promise<MessageInitShape<typeof ListSecretsResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const [customerId = '', name = ''] = fromPageToken(request.pageToken, TOKEN)?.split('\0') ?? [];
    const rows = await secrets.list({ customerId, name }, size + 1);
    const { page, nextPageToken } = pageOf(rows, size, (secret) => `${secret.customerId}\0${secret.name}`);
    return { secrets: page.map(toSecretMessage), nextPageToken };
  };
}
