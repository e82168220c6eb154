import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PutTaxRateRequest, PutTaxRateResponseSchema } from '../../gen/billing/v1/rates_pb.ts';
import { putTaxRate as put } from '../billing/rates/tax-rates.ts';
import type { BillingStore } from '../billing/store.ts';
import { CallerFault } from '../lib/failure.ts';
import { callerOf } from './auth.ts';
import { requireDate } from './fields.ts';
import { toTaxRateMessage } from './rate-message.ts';

export function putTaxRate(store: BillingStore) {
  return async (
    { rate }: PutTaxRateRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof PutTaxRateResponseSchema>> => {
    if (rate === undefined) throw new CallerFault('invalid_argument', 'rate', 'rate is missing');
    const wanted = { ...rate, validFrom: requireDate('rate.valid_from', rate.validFrom) };
    return { rate: toTaxRateMessage(await put(store, wanted, callerOf(context).keyId)) };
  };
}
