import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type BillingMetrics, BillingMetricsSchema } from '../../gen/billing/v1/metrics_pb.ts';
import type { Sender } from '../../src/ingest/window.ts';

/** 2026-06-10T12:00:00Z: what the tests' clock says. */
export const NOW_MS = Date.UTC(2026, 5, 10, 12);

/** A good window of the minute before `NOW_MS`, with what a test wants to be different. */
export function aWindow(changes: MessageInitShape<typeof BillingMetricsSchema> = {}): BillingMetrics {
  return create(BillingMetricsSchema, {
    vmId: 'vm-1',
    customerId: 'acme',
    region: 'us-east1',
    timestamp: timestampFromMs(NOW_MS),
    windowStart: timestampFromMs(NOW_MS - 60_000),
    windowEnd: timestampFromMs(NOW_MS),
    cpuTimeNanos: 60_000_000_000n,
    cpuUtilizationPct: 99.5,
    cpuCoresUsed: 1,
    memoryBytesUsed: 4_000_000_000n,
    memoryBytesPeak: 4_100_000_000n,
    memoryBytesSeconds: 240_000_000_000n,
    diskReadBytes: 1n,
    diskWriteBytes: 2n,
    diskReadOps: 3n,
    diskWriteOps: 4n,
    networkRxBytes: 5n,
    networkTxBytes: 6n,
    ...changes,
  });
}

export const anySender: Sender = {
  credentialId: '0123456789abcdef',
  regions: undefined,
  customerIds: undefined,
  backfill: false,
};
