import { randomUUID } from 'node:crypto';
import { toJsonString } from '@bufbuild/protobuf';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { ClickHouseClient } from '@clickhouse/client';
import { type BillingMetrics, BillingMetricsSchema } from '../../gen/billing/v1/metrics_pb.ts';
import type { CallerFault } from '../lib/failure.ts';
import { dateTime64 } from '../storage/clickhouse/date-time.ts';

/** A window that was not taken, and why. */
export interface RefusedWindow {
  /** `undefined` where it could not be decoded. */
  readonly metrics: BillingMetrics | undefined;
  readonly fault: CallerFault;
}

/** The refused windows of one call. */
export interface RefusedBatch {
  readonly credentialId: string;
  readonly instanceId: string;
  readonly receivedAtNanos: bigint;
  readonly windows: readonly RefusedWindow[];
}

export interface RefusedWindowsOptions {
  readonly clickhouse: ClickHouseClient;
  /** Whether ClickHouse is there. While it is not, nothing is sent to it. */
  readonly isThere: () => boolean;
  /** Told how many windows there was no room for since it was told last. */
  readonly onNotKept: (windows: number) => void;
}

interface RefusedRow {
  readonly received_at: string;
  readonly id: string;
  readonly customer_id: string;
  readonly credential_id: string;
  readonly instance_id: string;
  readonly code: string;
  readonly field: string;
  readonly message: string;
  readonly metrics: string;
}

/** At most 4 KiB of JSON each, and a few hundred bytes beside it. */
const ROWS_MAX = 10_000;
const FLUSH_MS_MAX = 10_000;
const METRICS_BYTES_MAX = 4096;
/** Of four texts so long, each character escaped, a window's JSON stays below its 4 KiB. */
const TEXT_LENGTH_MAX = 128;
const MESSAGE_LENGTH_MAX = 1000;
/** Years 1 to 9999, outside of which a Timestamp has no JSON. */
const SECONDS_MIN = -62_135_596_800n;
const SECONDS_MAX = 253_402_300_799n;

/**
 * Refused windows on their way into `refused_windows`. No ack was given for them, so they wait in memory and not in the
 * spool: as far as there is room, and what there is none for is counted and told.
 */
export class RefusedWindows {
  readonly #options: RefusedWindowsOptions;
  readonly #rows: RefusedRow[] = [];
  #notKept = 0;

  constructor(options: RefusedWindowsOptions) {
    this.#options = options;
  }

  note(batch: RefusedBatch): void {
    const room = ROWS_MAX - this.#rows.length;
    for (const window of batch.windows.slice(0, room)) this.#rows.push(toRow(batch, window));
    this.#notKept += Math.max(0, batch.windows.length - room);
  }

  /**
   * Stores what was noted. What cannot be stored stays, and has the same id when it is tried again.
   * @throws what ClickHouse or the network reports
   */
  async flush(): Promise<void> {
    this.#tell();
    const values = this.#rows.slice();
    if (values.length === 0 || !this.#options.isThere()) return;
    const abort_signal = AbortSignal.timeout(FLUSH_MS_MAX);
    await this.#options.clickhouse.insert({ table: 'refused_windows', values, format: 'JSONEachRow', abort_signal });
    this.#rows.splice(0, values.length);
  }

  /** Stores what it can; the rest is not kept. Call nothing else afterwards. @throws as `flush` */
  async stop(): Promise<void> {
    try {
      await this.flush();
    } finally {
      this.#notKept += this.#rows.length;
      this.#rows.length = 0;
      this.#tell();
    }
  }

  #tell(): void {
    if (this.#notKept > 0) this.#options.onNotKept(this.#notKept);
    this.#notKept = 0;
  }
}

function toRow(batch: RefusedBatch, { metrics, fault }: RefusedWindow): RefusedRow {
  return {
    received_at: dateTime64(batch.receivedAtNanos),
    id: randomUUID(),
    customer_id: shortened(metrics?.customerId ?? '', TEXT_LENGTH_MAX),
    credential_id: batch.credentialId,
    instance_id: batch.instanceId.toWellFormed(),
    code: fault.kind,
    field: fault.field,
    message: shortened(fault.message, MESSAGE_LENGTH_MAX),
    metrics: metrics === undefined ? '' : metricsJson(metrics),
  };
}

function metricsJson(metrics: BillingMetrics): string {
  const json = toJsonString(BillingMetricsSchema, {
    ...metrics,
    ...soundTimes(metrics),
    ...texts(metrics, Number.POSITIVE_INFINITY),
  });
  if (Buffer.byteLength(json) <= METRICS_BYTES_MAX) return json;
  return toJsonString(BillingMetricsSchema, { ...metrics, ...soundTimes(metrics), ...texts(metrics, TEXT_LENGTH_MAX) });
}

function texts({ vmId, customerId, region, bootId }: BillingMetrics, lengthMax: number): Partial<BillingMetrics> {
  return {
    vmId: shortened(vmId, lengthMax),
    customerId: shortened(customerId, lengthMax),
    region: shortened(region, lengthMax),
    bootId: shortened(bootId, lengthMax),
  };
}

/** A time that has no JSON is left out; the message says what it was. */
function soundTimes(metrics: BillingMetrics): Partial<BillingMetrics> {
  const sound = (time: Timestamp | undefined): Timestamp | undefined => {
    if (time === undefined) return undefined;
    const isSound = time.seconds >= SECONDS_MIN && time.seconds <= SECONDS_MAX;
    return isSound && time.nanos >= 0 && time.nanos <= 999_999_999 ? time : undefined;
  };
  const { timestamp, windowStart, windowEnd } = metrics;
  return { timestamp: sound(timestamp), windowStart: sound(windowStart), windowEnd: sound(windowEnd) };
}

/** Half a character is none in JSON, and would keep the whole block from being stored. */
function shortened(text: string, lengthMax: number): string {
  return (text.length > lengthMax ? `${text.slice(0, lengthMax - 1)}…` : text).toWellFormed();
}
