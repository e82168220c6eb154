import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CreateKeyRequest, CreateKeyResponseSchema } from '../../gen/billing/v1/keys_pb.ts';
import { formatCredential } from '../access/credential.ts';
import type { KeyStore } from '../access/key-store.ts';
import { callerOf } from './auth.ts';
import { parseBillagedCounters, requireRole, toKeyMessage } from './key-message.ts';

export function createKey(store: KeyStore) {
  return async (
    request: CreateKeyRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof CreateKeyResponseSchema>> => {
    const { name, regions, customerIds, backfill } = request;
    const role = requireRole(request.role);
    const billagedCounters = parseBillagedCounters(request.billagedCounters);
    const host = request.spiffeId === '' ? {} : { spiffeId: request.spiffeId };
    const asked = { name, role, regions, customerIds, backfill, billagedCounters, ...host };
    const { key, credential } = await store.create(asked, callerOf(context).keyId);
    return { key: toKeyMessage(key), secret: credential === undefined ? '' : formatCredential(credential) };
  };
}
