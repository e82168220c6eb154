import { fromBinary } from '@bufbuild/protobuf';
import { type BillingMetrics, BillingMetricsSchema, CounterTemporality } from '../../gen/billing/v1/metrics_pb.ts';
import { CallerFault, messageOf } from '../lib/failure.ts';
import { parseId } from '../lib/identifier.ts';
import { ReadingIntake, type ReportedReading } from './accept-readings.ts';
import type { Sync } from './dedup.ts';
import {
  type Backfilled,
  boundsAt,
  type IntakeOptions,
  noteBackfilled,
  nothingBackfilled,
  ReceiptClock,
  type Verdict,
  type WindowFault,
} from './intake.ts';
import { parseTotals } from './reading.ts';
import { encodeRecord, TouchedHours } from './record.ts';
import type { RefusedWindow } from './refused.ts';
import { RowBatch } from './row-batch.ts';
import { readRows, type Row, RowScan } from './row-scan.ts';
import { SenderScope } from './sender-scope.ts';
import { isLate, parseWindow, type TimeBounds } from './validate.ts';
import type { Provenance, Sender, Window } from './window.ts';
import type { WireBatch } from './wire-batch.ts';
import { blockParts, readBlock } from './window-block.ts';

/** One call's windows: as protobuf bytes, or decoded where the call came in JSON. */
export interface Batch {
  readonly metrics: WireBatch | readonly BillingMetrics[];
  readonly instanceId: string;
  readonly sequence: bigint;
  readonly counterTemporality: CounterTemporality;
}

/** Windows that were accepted; read from their rows only when somebody goes over them. */
export interface AcceptedWindows extends Iterable<Row> {
  readonly length: number;
}

export interface IngestOptions extends IntakeOptions {
  /** Told of windows once they are on disk; `read` copies them, and is only there for the call. */
  readonly onAccepted: (read: () => AcceptedWindows) => void;
}

/** A batch while its windows are sorted. */
interface Sorting {
  readonly sender: Sender;
  readonly bounds: TimeBounds;
  readonly scope: SenderScope;
  readonly provenance: Provenance;
  readonly sync: Sync;
  readonly number: number;
  readonly rows: RowBatch;
  readonly touched: TouchedHours;
  /** The syncs that duplicates of windows still on their way to disk wait for. */
  readonly awaited: Set<Promise<void>>;
  readonly faults: WindowFault[];
  readonly refused: RefusedWindow[];
  /** Which of the rows are conflicting reports. */
  readonly conflicts: Set<number>;
  readonly backfilled: Backfilled;
  duplicate: number;
}

const COUNTER_TEMPORALITIES: ReadonlySet<number> = new Set(Object.values(CounterTemporality));
/** Of one window that is not plainly normal: looking through a megabyte of fields that nobody knows takes a while. */
const WINDOW_BYTES_MAX = 65_536;
const HOUR_SECONDS = 3600;
const HOUR_NANOS = 3_600_000_000_000;

/**
 * The whole path from a batch to the promise: read and validate → deduplicate → spool → sync → verdict. When `accept`
 * returns, every window that it counts as accepted or duplicate is on disk.
 */
export class Ingest {
  readonly #options: IngestOptions;
  /** The same for readings that come in no batch of windows. */
  readonly readings: ReadingIntake;
  readonly #receipts = new ReceiptClock();

  constructor(options: IngestOptions) {
    this.#options = options;
    this.readings = new ReadingIntake(options);
  }

  /** @throws CallerFault where the batch as a whole is wrong; NotNow where there is no room */
  async accept(batch: Batch, sender: Sender): Promise<Verdict> {
    checkBatch(batch, this.#options.batchWindowsMax);
    if (batch.counterTemporality === CounterTemporality.CUMULATIVE) {
      const { metrics, instanceId } = batch;
      return this.readings.accept({ reports: totalsOf(metrics), instanceId }, sender);
    }
    const sorting = this.#begin(batch, sender);
    try {
      this.#sortAll(batch.metrics, sorting);
    } catch (reason) {
      // What was remembered of the batch is not going to be stored.
      this.#options.recent.forget(new RowScan(sorting.rows.block()), sorting.number);
      throw reason;
    }
    await this.#store(sorting);
    await Promise.all(sorting.awaited);
    const verdict = verdictOf(sorting);
    const { rows, conflicts, backfilled, refused, provenance } = sorting;
    if (verdict.accepted > 0) this.#options.onAccepted(() => acceptedOf(rows, conflicts));
    if (backfilled.windows > 0) this.#options.onBackfilled(sender.credentialId, backfilled);
    if (refused.length > 0) this.#options.onRefused({ ...provenance, windows: refused });
    this.#options.onVerdict(verdict);
    rows.release();
    return verdict;
  }

  #begin(batch: Batch, sender: Sender): Sorting {
    const { clock, recent } = this.#options;
    const nowNanos = clock.nowNanos();
    const bounds = boundsAt(nowNanos, this.#options);
    const { instanceId, sequence } = batch;
    const receivedAtNanos = this.#receipts.at(nowNanos);
    const provenance = { credentialId: sender.credentialId, instanceId, sequence, receivedAtNanos };
    const sync: Sync = { done: undefined };
    const scope = new SenderScope(sender, bounds);
    const { metrics } = batch;
    return {
      sender,
      bounds,
      scope,
      provenance,
      sync,
      number: recent.begin(sync),
      rows: new RowBatch(metrics.length, provenance, 'bounds' in metrics ? { bytes: metrics.bytes, scope } : undefined),
      touched: new TouchedHours(),
      awaited: new Set(),
      faults: [],
      refused: [],
      conflicts: new Set(),
      backfilled: nothingBackfilled(),
      duplicate: 0,
    };
  }

  #sortAll(metrics: Batch['metrics'], sorting: Sorting): void {
    if ('bounds' in metrics) {
      for (let index = 0; index < metrics.length; index++) this.#sortWire(metrics, index, sorting);
    } else metrics.forEach((each, index) => this.#sortOrdinarily(() => each, index, sorting));
  }

  #sortWire({ bytes, bounds }: WireBatch, index: number, sorting: Sorting): void {
    const { rows, scope } = sorting;
    const start = bounds[2 * index] ?? 0;
    const end = bounds[2 * index + 1] ?? 0;
    if (rows.addWire(start, end)) {
      if (scope.allows(rows.head)) {
        this.#settle(index, sorting, undefined);
        return;
      }
      rows.dropLast();
    }
    this.#sortOrdinarily(() => decode(bytes.subarray(start, end)), index, sorting);
  }

  #sortOrdinarily(read: () => BillingMetrics, index: number, sorting: Sorting): void {
    const window = parseOrdinarily(read, index, sorting);
    if (window === undefined) return;
    sorting.rows.addWindow(window);
    this.#settle(index, sorting, window);
  }

  /** What becomes of the row that was just written. `window` is given where it came the ordinary way. */
  #settle(index: number, sorting: Sorting, window: Window | undefined): void {
    const { recent } = this.#options;
    const { rows, number, sync } = sorting;
    const known = recent.take(rows.head, number);
    if (known === 'duplicate') {
      sorting.duplicate++;
      const first = recent.syncOf(rows.head);
      // A duplicate inside this very batch waits for the sync that the batch itself is about to start.
      if (first !== undefined && first !== sync && first.done !== undefined) sorting.awaited.add(first.done);
      rows.dropLast();
      return;
    }
    this.#touch(sorting);
    if (known === 'conflict') {
      // It is kept as well: it lies beside the first report, which stays the one that counts.
      sorting.conflicts.add(rows.count - 1);
      const message = 'the window was reported before with other values; the first report stays';
      sorting.faults.push({ index, fault: new CallerFault('already_exists', '', message) });
    } else if (window !== undefined && isLate(window.endNanos, sorting.bounds)) {
      noteBackfilled(sorting.backfilled, window.startNanos, window.endNanos);
    }
  }

  /** Notes the hours of the last row, once a VM and hour. */
  #touch({ rows: { head }, touched, number }: Sorting): void {
    const entry = this.#options.recent.taken;
    if (entry === undefined) throw new Error('the hours of a row are noted after it was taken');
    if (entry.touchedBy !== number) touched.add(entry.customerId, head.hour * HOUR_SECONDS);
    entry.touchedBy = number;
    const reachesOver = head.offsetNanos + head.lengthNanos > HOUR_NANOS;
    if (reachesOver) touched.add(entry.customerId, (head.hour + 1) * HOUR_SECONDS);
  }

  async #store({ rows, touched, sync, number }: Sorting): Promise<void> {
    const { recent, spool } = this.#options;
    if (rows.count === 0) {
      recent.end(number);
      return;
    }
    try {
      // Set before anything is awaited: a duplicate that comes in meanwhile has to find it.
      sync.done = spool.append(encodeRecord(rows.block(), touched));
      await sync.done;
    } catch (reason) {
      recent.forget(new RowScan(rows.block()), number);
      throw reason;
    }
    sync.done = undefined;
    recent.end(number);
  }
}

function checkBatch(batch: Batch, windowsMax: number): void {
  if (!COUNTER_TEMPORALITIES.has(batch.counterTemporality)) {
    const message = `counter_temporality: ${batch.counterTemporality} is not known: nothing is guessed`;
    throw new CallerFault('invalid_argument', 'counter_temporality', message);
  }
  if (batch.metrics.length === 0)
    throw new CallerFault('invalid_argument', 'metrics', 'metrics is empty: no windows sent');
  if (batch.metrics.length > windowsMax) {
    const message = `metrics: ${batch.metrics.length} windows in one batch, more than ${windowsMax}`;
    throw new CallerFault('invalid_argument', 'metrics', message);
  }
  if (batch.instanceId !== '') parseId('instance_id', batch.instanceId);
}

/** The ordinary way, whose verdict and message count. @returns undefined where the window is refused */
function parseOrdinarily(
  read: () => BillingMetrics,
  index: number,
  { sender, bounds, faults, refused }: Sorting,
): Window | undefined {
  let metrics: BillingMetrics | undefined;
  try {
    metrics = read();
    return parseWindow(metrics, sender, bounds);
  } catch (reason) {
    if (!(reason instanceof CallerFault)) throw reason;
    faults.push({ index, fault: reason });
    refused.push({ metrics, fault: reason });
    return undefined;
  }
}

function decode(bytes: Uint8Array): BillingMetrics {
  if (bytes.length > WINDOW_BYTES_MAX) {
    const message = `it has ${bytes.length} bytes, more than ${WINDOW_BYTES_MAX}`;
    throw new CallerFault('invalid_argument', '', message);
  }
  try {
    // Fields that nobody knows would each become an object, kept as long as the window.
    return fromBinary(BillingMetricsSchema, bytes, { readUnknownFields: false });
  } catch (reason) {
    throw new CallerFault('invalid_argument', '', `it is not a ${BillingMetricsSchema.typeName}: ${messageOf(reason)}`);
  }
}

/** Windows of totals, each the reading at its end. */
function totalsOf(metrics: Batch['metrics']): ReportedReading[] {
  if (!('bounds' in metrics)) return metrics.map(totals);
  return Array.from({ length: metrics.length }, (_, index) => {
    try {
      return totals(decode(metrics.bytes.subarray(metrics.bounds[2 * index], metrics.bounds[2 * index + 1])));
    } catch (reason) {
      const parse = (): never => {
        throw reason;
      };
      return { parse, shown: () => undefined };
    }
  });
}

function totals(metrics: BillingMetrics): ReportedReading {
  return { parse: (sender, bounds) => parseTotals(metrics, sender, bounds), shown: () => metrics };
}

function verdictOf({ rows, conflicts, faults, duplicate }: Sorting): Verdict {
  const conflicting = conflicts.size;
  return { accepted: rows.count - conflicting, duplicate, conflicting, refused: faults.length - conflicting, faults };
}

function acceptedOf(batch: RowBatch, conflicts: ReadonlySet<number>): AcceptedWindows {
  const windows = readBlock(Buffer.concat(blockParts(batch.block())), batch.count);
  return { length: batch.count - conflicts.size, [Symbol.iterator]: () => readRows(windows, conflicts) };
}
