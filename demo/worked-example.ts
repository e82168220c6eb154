import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type BillingMetrics, BillingMetricsSchema } from '../gen/billing/v1/metrics_pb.ts';

/**
 * The worked example: two regions, three VMs, a month of 30 days. VM 1 and VM 2 run all month in the first region
 * (720 h each), VM 3 runs in the second from the start of day 13 (432 h): 1,872 VM-hours in 112,320 windows of a minute.
 */
export interface WorkedExample {
  readonly customerId: string;
  readonly planId: string;
  /** "YYYY-MM". */
  readonly period: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly vms: readonly ExampleVm[];
  readonly windowCount: number;
}

export interface ExampleVm {
  readonly vmId: string;
  readonly region: string;
  readonly startMs: number;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** A month has to be over for this long, so that its invoice is past the default grace. */
const SETTLED_MS = 2 * DAY_MS;

/** The example in the last month of 30 days that is well over. */
export function workedExample(nowMs: number): WorkedExample {
  const { startMs, endMs } = lastMonthOfThirtyDays(nowMs);
  const vms = [
    { vmId: 'vm-1', region: 'us-east1', startMs },
    { vmId: 'vm-2', region: 'us-east1', startMs },
    { vmId: 'vm-3', region: 'europe-west1', startMs: startMs + 12 * DAY_MS },
  ];
  return {
    customerId: 'acme',
    planId: 'demo',
    period: new Date(startMs).toISOString().slice(0, 7),
    startMs,
    endMs,
    vms,
    windowCount: vms.reduce((sum, vm) => sum + (endMs - vm.startMs) / MINUTE_MS, 0),
  };
}

/** One VM's windows in batches, in order. */
export function* batchesOf(
  example: WorkedExample,
  vm: ExampleVm,
  windowsPerBatch: number,
): Generator<BillingMetrics[]> {
  const batchMs = windowsPerBatch * MINUTE_MS;
  for (let fromMs = vm.startMs; fromMs < example.endMs; fromMs += batchMs) {
    const toMs = Math.min(fromMs + batchMs, example.endMs);
    const batch: BillingMetrics[] = [];
    for (let startMs = fromMs; startMs < toMs; startMs += MINUTE_MS) batch.push(window(example, vm, startMs));
    yield batch;
  }
}

/** One core fully used, 4 GB of memory throughout, 1 MB each of disk read, disk write, received and sent. */
function window(example: WorkedExample, vm: ExampleVm, startMs: number): BillingMetrics {
  return create(BillingMetricsSchema, {
    vmId: vm.vmId,
    customerId: example.customerId,
    region: vm.region,
    timestamp: timestampFromMs(startMs + MINUTE_MS),
    windowStart: timestampFromMs(startMs),
    windowEnd: timestampFromMs(startMs + MINUTE_MS),
    cpuTimeNanos: 60_000_000_000n,
    cpuUtilizationPct: 100,
    cpuCoresUsed: 1,
    memoryBytesUsed: 4_000_000_000n,
    memoryBytesPeak: 4_000_000_000n,
    memoryBytesSeconds: 240_000_000_000n,
    diskReadBytes: 1_000_000n,
    diskWriteBytes: 1_000_000n,
    networkRxBytes: 1_000_000n,
    networkTxBytes: 1_000_000n,
  });
}

function lastMonthOfThirtyDays(nowMs: number): { startMs: number; endMs: number } {
  const now = new Date(nowMs - SETTLED_MS);
  for (let back = 0; ; back++) {
    const endMs = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back);
    const startMs = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back - 1);
    if (endMs - startMs === 30 * DAY_MS) return { startMs, endMs };
  }
}
