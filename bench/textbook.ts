import { fromBinary } from '@bufbuild/protobuf';
import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';
import type { ClickHouseClient } from '@clickhouse/client';
import { SendMetricsBatchRequestSchema } from '../gen/billing/v1/collector_pb.ts';
import type { BillingMetrics } from '../gen/billing/v1/metrics_pb.ts';
import type { FleetSpec } from './generator/fleet.ts';
import { Generator } from './generator/generator.ts';
import { fillRequest } from './generator/request-template.ts';

const BATCHES_PER_INSERT = 50;
/** So that one decodes while the other waits for ClickHouse. */
const LANES = 2;
const BODY_BYTES_MAX = 1024 * 1024;

/**
 * The pipeline as one writes it first: decode with protobuf-es into objects, insert them as `JSONEachRow`. In one process,
 * without any RPC, spool, deduplication or ack.
 * @returns windows a second
 */
export async function textbookRate(clickhouse: ClickHouseClient, spec: FleetSpec, forMs: number): Promise<number> {
  const generator = Generator.ofRequests(spec);
  generator.warm();
  const body = Buffer.allocUnsafe(BODY_BYTES_MAX);
  let number = 0;
  let windows = 0;
  const startedMs = performance.now();
  const lane = async (): Promise<void> => {
    while (performance.now() - startedMs < forMs) {
      const rows: object[] = [];
      for (let i = 0; i < BATCHES_PER_INSERT; i++) {
        const job = generator.job(number++);
        const request = fillRequest(generator.template(job), body, { ...job, job: job.number });
        for (const metrics of fromBinary(SendMetricsBatchRequestSchema, request).metrics) rows.push(rowOf(metrics));
      }
      await clickhouse.insert({ table: 'windows', values: rows, format: 'JSONEachRow' });
      windows += rows.length;
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return windows / ((performance.now() - startedMs) / 1000);
}

function rowOf(metrics: BillingMetrics): object {
  return {
    customer_id: metrics.customerId,
    vm_id: metrics.vmId,
    window_start: time(metrics.windowStart),
    window_end: time(metrics.windowEnd),
    region: metrics.region,
    sampled_at: time(metrics.timestamp),
    cpu_time_nanos: String(metrics.cpuTimeNanos),
    cpu_utilization_pct: metrics.cpuUtilizationPct,
    cpu_cores_used: metrics.cpuCoresUsed,
    memory_bytes_used: String(metrics.memoryBytesUsed),
    memory_bytes_peak: String(metrics.memoryBytesPeak),
    memory_byte_seconds: String(metrics.memoryBytesSeconds),
    disk_read_bytes: String(metrics.diskReadBytes),
    disk_write_bytes: String(metrics.diskWriteBytes),
    disk_read_ops: String(metrics.diskReadOps),
    disk_write_ops: String(metrics.diskWriteOps),
    network_rx_bytes: String(metrics.networkRxBytes),
    network_tx_bytes: String(metrics.networkTxBytes),
  };
}

function time(value: Timestamp | undefined): string | undefined {
  return value === undefined ? undefined : timestampDate(value).toISOString();
}
