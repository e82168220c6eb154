import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PutExchangeRateRequest, PutExchangeRateResponseSchema } from '../../gen/billing/v1/rates_pb.ts';
import { putExchangeRate as put } from '../billing/rates/exchange-rates.ts';
import type { BillingStore } from '../billing/store.ts';
import { CallerFault } from '../lib/failure.ts';
import { callerOf } from './auth.ts';
import { toExchangeRateMessage } from './rate-message.ts';

export function putExchangeRate(store: BillingStore) {
  return async (
    { rate }: PutExchangeRateRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof PutExchangeRateResponseSchema>> => {
    if (rate === undefined) throw new CallerFault('invalid_argument', 'rate', 'rate is missing');
    return { rate: toExchangeRateMessage(await put(store, rate, callerOf(context).keyId)) };
  };
}
