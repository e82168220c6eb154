import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { SendMetricsBatchRequestSchema } from '../gen/billing/v1/collector_pb.ts';
import type { BillingMetricsSchema } from '../gen/billing/v1/metrics_pb.ts';
import { QUANTITIES } from '../bench/generator/tally.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** So many batches make a group, whose VMs have all their windows in one hour. */
export const MINUTES_PER_HOUR = 60;
/** Hours over which windows are spread: inside the bound of 35 days for late ones. */
const HOURS = 33 * 24;
const CUSTOMERS = 3;
/** Every quantity lies below: sums of many stay far from the ends of 64 bits, and no two windows are alike by accident. */
const QUANTITY_BITS = 32;

export interface FleetOptions {
  /** Starts the ids of its VMs and customers: fleets of other names share none. */
  readonly name: string;
  readonly seed: number;
  readonly windowsPerBatch: number;
  /** 3 where left out. */
  readonly customers?: number;
}

/** A window as the oracle knows it. Its values follow from the seed and its place, so they need not be kept. */
export interface FleetWindow {
  readonly customerId: string;
  readonly vmId: string;
  readonly startMs: number;
  /** In the order of `QUANTITIES`. */
  readonly quantities: readonly number[];
}

/** Where a window stands: which of the fleet's batches, and its place in it. */
export interface Place {
  readonly batch: number;
  readonly index: number;
}

/** Numbered batches of windows, every one of them another; the same number gives the same bytes each time. */
export class Fleet {
  readonly options: FleetOptions;
  /** Start of the first window: 34 days ago, on the hour. */
  readonly firstMs: number;

  constructor(options: FleetOptions, nowMs = Date.now()) {
    this.options = options;
    this.firstMs = Math.floor((nowMs - 34 * DAY_MS) / HOUR_MS) * HOUR_MS;
  }

  get #customers(): number {
    return this.options.customers ?? CUSTOMERS;
  }

  /** Behind the end of the last window. */
  get endMs(): number {
    return this.firstMs + HOURS * HOUR_MS;
  }

  get customerIds(): readonly string[] {
    return Array.from({ length: this.#customers }, (_, index) => this.#customerId(index));
  }

  window({ batch, index }: Place): FleetWindow {
    const { name, seed } = this.options;
    const group = Math.floor(batch / MINUTES_PER_HOUR);
    const startMs = this.firstMs + (group % HOURS) * HOUR_MS + (batch % MINUTES_PER_HOUR) * MINUTE_MS;
    return {
      customerId: this.#customerId(index),
      vmId: `${name}-${group}-${index}`,
      startMs,
      quantities: QUANTITIES.map((_, quantity) => mixed(seed, batch, index, quantity)),
    };
  }

  /** The body of the call that sends a batch. */
  request(batch: number): Buffer {
    return this.requestOf(Array.from({ length: this.options.windowsPerBatch }, (_, index) => ({ batch, index })));
  }

  /** The body of a call that sends any windows of the fleet. */
  requestOf(places: readonly Place[]): Buffer {
    const metrics = places.map((place) => messageOf(this.window(place)));
    const request = create(SendMetricsBatchRequestSchema, { metrics, instanceId: this.options.name, sequence: 1n });
    return Buffer.from(toBinary(SendMetricsBatchRequestSchema, request));
  }

  /** Where a stored window stands; `undefined` where no batch of the fleet has such a one. */
  placeOf(vmId: string, startMs: number): Place | undefined {
    const [, group, index] = /^.+-(\d+)-(\d+)$/.exec(vmId) ?? [];
    const minute = (startMs - this.firstMs) / MINUTE_MS;
    const place = {
      batch: Number(group) * MINUTES_PER_HOUR + (minute % MINUTES_PER_HOUR),
      index: Number(index),
    };
    if (!Number.isInteger(place.batch) || place.index >= this.options.windowsPerBatch) return undefined;
    const window = this.window(place);
    return window.vmId === vmId && window.startMs === startMs ? place : undefined;
  }

  #customerId(index: number): string {
    return `${this.options.name}-customer-${index % this.#customers}`;
  }
}

function messageOf(window: FleetWindow): MessageInitShape<typeof BillingMetricsSchema> {
  const [cpu = 0, memory = 0, diskRead = 0, diskWrite = 0, readOps = 0, writeOps = 0, rx = 0, tx = 0] =
    window.quantities;
  return {
    vmId: window.vmId,
    customerId: window.customerId,
    region: 'eu-west1',
    windowStart: timestampFromMs(window.startMs),
    windowEnd: timestampFromMs(window.startMs + MINUTE_MS),
    cpuTimeNanos: BigInt(cpu),
    memoryBytesSeconds: BigInt(memory),
    diskReadBytes: BigInt(diskRead),
    diskWriteBytes: BigInt(diskWrite),
    diskReadOps: BigInt(readOps),
    diskWriteOps: BigInt(writeOps),
    networkRxBytes: BigInt(rx),
    networkTxBytes: BigInt(tx),
  };
}

/** A number of `QUANTITY_BITS` bits that follows from four others (MurmurHash3's mixing). */
function mixed(...numbers: readonly number[]): number {
  let hash = 0x9e3779b9;
  for (const number of numbers) {
    hash = Math.imul(hash ^ number, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash ^= hash >>> 16;
  }
  return hash >>> (32 - QUANTITY_BITS);
}
