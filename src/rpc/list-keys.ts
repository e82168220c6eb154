import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ListKeysRequest, ListKeysResponseSchema } from '../../gen/billing/v1/keys_pb.ts';
import type { KeyStore } from '../access/key-store.ts';
import { pageSize } from './fields.ts';
import { toKeyMessage } from './key-message.ts';
import { fromPageToken, pageOf } from './page-token.ts';

const KEY_ID = /^[0-9a-f]{16}$/;

export function listKeys(store: KeyStore) {
  return async (request: ListKeysRequest): Promise<MessageInitShape<typeof ListKeysResponseSchema>> => {
    const size = pageSize(request.pageSize, 100, 1000);
    const keys = await store.list(fromPageToken(request.pageToken, KEY_ID) ?? '', size + 1);
    const { page, nextPageToken } = pageOf(keys, size, (key) => key.keyId);
    return { keys: page.map(toKeyMessage), nextPageToken };
  };
}
