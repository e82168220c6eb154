import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { DefineMetricRequest, DefineMetricResponseSchema } from '../../gen/billing/v1/plans_pb.ts';
import { defineMetric as define } from '../billing/plans/metrics-store.ts';
import type { BillingStore } from '../billing/store.ts';
import { callerOf } from './auth.ts';
import { toMetricMessage, toMetricText } from './metric-message.ts';

export function defineMetric(store: BillingStore) {
  return async (
    { metric }: DefineMetricRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof DefineMetricResponseSchema>> => {
    return { metric: toMetricMessage(await define(store, toMetricText(metric), callerOf(context).keyId)) };
  };
}
