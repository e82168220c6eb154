import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ClickHouseClient } from '@clickhouse/client';
import type { EraseCustomerRequest, EraseCustomerResponseSchema } from '../../gen/billing/v1/customers_pb.ts';
import { eraseKeysOf } from '../access/erase-keys.ts';
import { eraseSecretsOf } from '../access/secrets/secret-store.ts';
import type { KnownKeys } from '../access/known-keys.ts';
import { eraseCustomer as erase, type EraseStore } from '../billing/erase-customer.ts';
import type { BillingStore } from '../billing/store.ts';
import { countUsage, eraseUsage } from '../usage/erase-usage.ts';
import { callerOf } from './auth.ts';
import { toReceiptMessage } from './erasure-message.ts';

export function eraseCustomer({ db, clock }: BillingStore, clickhouse: ClickHouseClient, known: KnownKeys) {
  const store: EraseStore = {
    db,
    clock,
    countUsage: (customerId, signal) => countUsage(clickhouse, customerId, signal),
    eraseUsage: (customerId, rollupEnded, signal) => eraseUsage(clickhouse, customerId, rollupEnded, signal),
    eraseKeys: eraseKeysOf,
    eraseSecrets: eraseSecretsOf,
  };
  return async (
    request: EraseCustomerRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof EraseCustomerResponseSchema>> => {
    const { customerId, reason } = request;
    const receipt = await erase(store, { customerId, reason }, callerOf(context).keyId, context.signal);
    // The keys end at once here, and within a minute elsewhere.
    await known.refresh();
    return { receipt: toReceiptMessage(receipt) };
  };
}
