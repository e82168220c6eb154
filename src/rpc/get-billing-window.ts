import type { HandlerContext } from '@connectrpc/connect';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ClickHouseClient } from '@clickhouse/client';
import type {
  GetBillingWindowRequest,
  GetBillingWindowResponseSchema,
  WindowReportSchema,
} from '../../gen/billing/v1/query_pb.ts';
import { billingWindow, type WindowReport } from '../usage/billing-window.ts';
import { customerInScope } from './auth.ts';
import { requireNanos, toTimestamp } from './fields.ts';
import { toQuantitiesMessage } from './usage-message.ts';

export function getBillingWindow(clickhouse: ClickHouseClient) {
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
    const { report, conflicting, hours } = await billingWindow(clickhouse, asked, context.signal);
    return {
      report: toReportMessage(report),
      conflicting: conflicting.map(toReportMessage),
      hours: hours.map(({ startNanos, share, rolledUp }) => {
        return { start: toTimestamp(startNanos), share: toQuantitiesMessage(share), rolledUp };
      }),
    };
  };
}

function toReportMessage(report: WindowReport): MessageInitShape<typeof WindowReportSchema> {
  return {
    metrics: {
      vmId: report.vmId,
      customerId: report.customerId,
      region: report.region,
      timestamp: toTimestamp(report.sampledAtNanos),
      windowStart: toTimestamp(report.startNanos),
      windowEnd: toTimestamp(report.endNanos),
      cpuTimeNanos: report.cpuTimeNanos,
      cpuUtilizationPct: report.cpuUtilizationPct,
      cpuCoresUsed: report.cpuCoresUsed,
      memoryBytesUsed: report.memoryBytesUsed,
      memoryBytesPeak: report.memoryBytesPeak,
      memoryBytesSeconds: report.memoryByteSeconds,
      diskReadBytes: report.diskReadBytes,
      diskWriteBytes: report.diskWriteBytes,
      diskReadOps: report.diskReadOps,
      diskWriteOps: report.diskWriteOps,
      networkRxBytes: report.networkRxBytes,
      networkTxBytes: report.networkTxBytes,
      bootId: report.bootId,
    },
    receivedAt: toTimestamp(report.receivedAtNanos),
    credentialId: report.credentialId,
    instanceId: report.instanceId,
    sequence: report.sequence,
    valueHash: report.valueHash.toString(16).padStart(16, '0'),
  };
}
