import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetBillingWindowRequest, GetBillingWindowResponseSchema } from '../../gen/billing/v1/query_pb.ts';
import { billingWindow } from '../usage/billing-window.ts';
import { customerInScope } from './auth.ts';
import { requireNanos, toTimestamp } from './fields.ts';
import type { Readable } from './readable-store.ts';
import { toQuantitiesMessage } from './usage-message.ts';
import { toReportMessage } from './window-report-message.ts';

export function getBillingWindow(readable: Readable) {
  return async (
    request: GetBillingWindowRequest,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof GetBillingWindowResponseSchema>> => {
    const asked = {
      customerId: customerInScope(context, request.customerId),
      vmId: request.vmId,
      startNanos: requireNanos('window_start', request.windowStart),
      endNanos: request.windowEnd === undefined ? undefined : requireNanos('window_end', request.windowEnd),
    };
    const { report, conflicting, hours, readings } = await billingWindow(
      readable(context).clickhouse,
      asked,
      context.signal,
    );
    return {
      report: toReportMessage(report),
      conflicting: conflicting.map(toReportMessage),
      readings: readings.map(toReportMessage),
      hours: hours.map(({ startNanos, share, rolledUp }) => {
        return { start: toTimestamp(startNanos), share: toQuantitiesMessage(share), rolledUp };
      }),
    };
  };
}
