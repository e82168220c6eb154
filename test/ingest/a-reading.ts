import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type VMMetrics, VMMetricsSchema } from '../../gen/billaged/v1/billing_pb.ts';
import type { Reading } from '../../src/ingest/reading.ts';
import { NOW_MS } from './a-window.ts';

/** A good sample of `billaged.v1`, taken at `NOW_MS`, with what a test wants to be different. */
export function aSample(changes: MessageInitShape<typeof VMMetricsSchema> = {}): VMMetrics {
  return create(VMMetricsSchema, {
    timestamp: timestampFromMs(NOW_MS),
    cpuTimeNanos: 60_000_000_000n,
    memoryUsageBytes: 4_000_000_000n,
    diskReadBytes: 1n,
    diskWriteBytes: 2n,
    networkRxBytes: 5n,
    networkTxBytes: 6n,
    ...changes,
  });
}

/** A good reading, taken at `NOW_MS`, with what a test wants to be different. */
export function aReading(changes: Partial<Reading> = {}): Reading {
  return {
    customerId: 'acme',
    vmId: 'vm-1',
    region: 'us-east1',
    bootId: 'boot-1',
    counters: 'cumulative',
    sampledAtNanos: BigInt(NOW_MS) * 1_000_000n,
    cpuTimeNanos: 60_000_000_000n,
    memoryBytesUsed: 4_000_000_000n,
    memoryByteSeconds: 240_000_000_000n,
    diskReadBytes: 1n,
    diskWriteBytes: 2n,
    diskReadOps: 3n,
    diskWriteOps: 4n,
    networkRxBytes: 5n,
    networkTxBytes: 6n,
    ...changes,
  };
}
