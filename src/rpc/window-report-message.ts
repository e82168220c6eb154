import type { MessageInitShape } from '@bufbuild/protobuf';
import type { WindowReportSchema } from '../../gen/billing/v1/query_pb.ts';
import type { WindowReport } from '../usage/window-report.ts';
import { toTimestamp } from './fields.ts';
import { COUNTERS } from './key-message.ts';

/** A value hash as the contract writes it: 16 hexadecimal digits. */
export function toHashText(hash: bigint): string {
  return hash.toString(16).padStart(16, '0');
}

export function toReportMessage(report: WindowReport): MessageInitShape<typeof WindowReportSchema> {
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
    valueHash: toHashText(report.valueHash),
    ...(report.counters === undefined ? {} : { counters: COUNTERS[report.counters] }),
  };
}
