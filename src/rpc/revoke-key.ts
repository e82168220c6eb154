import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { RevokeKeyRequest, RevokeKeyResponseSchema } from '../../gen/billing/v1/keys_pb.ts';
import type { KeyStore } from '../access/key-store.ts';
import type { KnownKeys } from '../access/known-keys.ts';
import { callerOf } from './auth.ts';
import { toKeyMessage } from './key-message.ts';

/** This process forgets the key at once, every other one within 60 seconds. */
export function revokeKey(store: KeyStore, known: KnownKeys) {
  return async (
    request: RevokeKeyRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof RevokeKeyResponseSchema>> => {
    const key = await store.revoke(request.keyId, callerOf(context).keyId);
    known.forget(key.keyId);
    return { key: toKeyMessage(key) };
  };
}
