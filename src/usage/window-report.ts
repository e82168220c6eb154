import { type AcceptedWindow, QUANTITY_COLUMNS, type Quantities, quantitiesOf } from './window.ts';

/** One host's report of a window. */
export interface WindowReport extends AcceptedWindow {
  readonly sampledAtNanos: bigint;
  readonly cpuUtilizationPct: number;
  readonly cpuCoresUsed: number;
  readonly memoryBytesUsed: bigint;
  readonly memoryBytesPeak: bigint;
  readonly bootId: string;
  readonly receivedAtNanos: bigint;
  readonly credentialId: string;
  readonly instanceId: string;
  readonly sequence: bigint;
  /** Of the region and the measured values. */
  readonly valueHash: bigint;
  /** How the values of a reading count; `undefined` of a window, whose values are its own. */
  readonly counters: 'delta' | 'cumulative' | undefined;
}

/** A row with `REPORT_COLUMNS`. */
export type ReportRow = Record<
  (typeof QUANTITY_COLUMNS)[keyof Quantities] | 'start' | 'end' | 'sampled' | 'received' | 'value_hash',
  string
> &
  Record<'region' | 'boot_id' | 'instance_id' | 'credential_id' | 'sequence', string> &
  Record<'memory_bytes_used' | 'memory_bytes_peak', string> &
  Record<'cpu_utilization_pct' | 'cpu_cores_used', number> & {
    /** Of readings only. */
    readonly counters?: 'delta' | 'cumulative';
  };

/** Of `windows`, with `received_at`. */
export const REPORT_COLUMNS = `reinterpretAsInt64(window_start) AS start, reinterpretAsInt64(window_end) AS end, value_hash,
  region, ${Object.values(QUANTITY_COLUMNS).join(', ')}, cpu_utilization_pct, cpu_cores_used, memory_bytes_used,
  memory_bytes_peak, reinterpretAsInt64(sampled_at) AS sampled, boot_id, instance_id, sequence, credential_id,
  reinterpretAsInt64(received_at) AS received`;

export function parseReport(
  { customerId, vmId }: Pick<WindowReport, 'customerId' | 'vmId'>,
  row: ReportRow,
): WindowReport {
  return {
    customerId,
    vmId,
    region: row.region,
    startNanos: BigInt(row.start),
    endNanos: BigInt(row.end),
    ...quantitiesOf((field) => BigInt(row[QUANTITY_COLUMNS[field]])),
    sampledAtNanos: BigInt(row.sampled),
    cpuUtilizationPct: row.cpu_utilization_pct,
    cpuCoresUsed: row.cpu_cores_used,
    memoryBytesUsed: BigInt(row.memory_bytes_used),
    memoryBytesPeak: BigInt(row.memory_bytes_peak),
    bootId: row.boot_id,
    receivedAtNanos: BigInt(row.received),
    credentialId: row.credential_id,
    instanceId: row.instance_id,
    sequence: BigInt(row.sequence),
    valueHash: BigInt(row.value_hash),
    counters: row.counters,
  };
}
