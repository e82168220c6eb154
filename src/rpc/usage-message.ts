import type { MessageInitShape } from '@bufbuild/protobuf';
import type { UsageQuantitiesSchema } from '../../gen/billing/v1/metrics_pb.ts';
import type { UsageQuantities } from '../usage/window.ts';

export function toQuantitiesMessage(sums: UsageQuantities): MessageInitShape<typeof UsageQuantitiesSchema> {
  return {
    cpuTimeNanos: String(sums.cpuTimeNanos),
    memoryByteSeconds: String(sums.memoryByteSeconds),
    diskReadBytes: String(sums.diskReadBytes),
    diskWriteBytes: String(sums.diskWriteBytes),
    diskReadOps: String(sums.diskReadOps),
    diskWriteOps: String(sums.diskWriteOps),
    networkRxBytes: String(sums.networkRxBytes),
    networkTxBytes: String(sums.networkTxBytes),
    observedNanos: String(sums.observedNanos),
    windows: sums.windows,
  };
}
