import type { BillingMetrics } from '../../gen/billing/v1/metrics_pb.ts';
import { CounterTemporality } from '../../gen/billing/v1/metrics_pb.ts';
import type { Clock } from '../lib/clock.ts';
import { CallerFault } from '../lib/failure.ts';
import { parseId } from '../lib/identifier.ts';
import type { RecentWindows, Sync } from './dedup.ts';
import { encodeRecord, TouchedHours } from './record.ts';
import { encodeRow, windowKey } from './row-binary.ts';
import { isLate, parseWindow, type TimeBounds } from './validate.ts';
import type { Provenance, Sender, Window } from './window.ts';

/** One call's windows, as decoded. */
export interface Batch {
  readonly metrics: readonly BillingMetrics[];
  readonly instanceId: string;
  readonly sequence: bigint;
  readonly counterTemporality: CounterTemporality;
}

/** Why one window was not taken; `index` is its place in the batch. */
export interface WindowFault {
  readonly index: number;
  readonly fault: CallerFault;
}

/** What became of each window of a batch. The four counts add up to the batch. */
export interface Verdict {
  readonly accepted: number;
  readonly duplicate: number;
  readonly conflicting: number;
  readonly refused: number;
  /** One for each conflicting or refused window, in order. */
  readonly faults: readonly WindowFault[];
}

/** The spool as ingest needs it. */
export interface Appender {
  /** Resolves when the payload is on disk. @throws NotNow where there is no room */
  append(payload: readonly Uint8Array[]): Promise<void>;
}

export interface IngestOptions {
  readonly clock: Clock;
  readonly spool: Appender;
  readonly recent: RecentWindows;
  readonly batchWindowsMax: number;
  readonly lateDaysMax: number;
  readonly aheadSecondsMax: number;
  /** Told of windows once they are on disk. */
  readonly onAccepted: (windows: readonly Window[]) => void;
  /** Told of each batch that was answered. */
  readonly onVerdict: (verdict: Verdict) => void;
  /** Told of windows that only the right to backfill let in. */
  readonly onBackfilled: (credentialId: string, windows: readonly Window[]) => void;
}

/** What sorting a batch's windows leaves to do. */
interface Sorted {
  readonly fresh: Window[];
  readonly backfilled: Window[];
  readonly keys: string[];
  readonly rows: Buffer[];
  readonly touched: TouchedHours;
  /** The syncs that duplicates of windows still on their way to disk wait for. */
  readonly awaited: Set<Promise<void>>;
  readonly faults: WindowFault[];
  duplicate: number;
  conflicting: number;
}

/**
 * The whole path from a decoded batch to the promise: validate → deduplicate → spool → sync → verdict. When `accept`
 * returns, every window that it counts as accepted or duplicate is on disk.
 */
export class Ingest {
  readonly #options: IngestOptions;
  #lastReceivedNanos = 0n;

  constructor(options: IngestOptions) {
    this.#options = options;
  }

  /** @throws CallerFault where the batch as a whole is wrong; NotNow where there is no room */
  async accept(batch: Batch, sender: Sender): Promise<Verdict> {
    checkBatch(batch, this.#options.batchWindowsMax);
    const sync: Sync = { done: undefined };
    const sorted = this.#sort(batch, sender, sync);
    if (sorted.rows.length > 0) await this.#store(sorted, sync);
    await Promise.all(sorted.awaited);
    if (sorted.fresh.length > 0) this.#options.onAccepted(sorted.fresh);
    if (sorted.backfilled.length > 0) this.#options.onBackfilled(sender.credentialId, sorted.backfilled);
    const verdict = {
      accepted: sorted.fresh.length,
      duplicate: sorted.duplicate,
      conflicting: sorted.conflicting,
      refused: sorted.faults.length - sorted.conflicting,
      faults: sorted.faults,
    };
    this.#options.onVerdict(verdict);
    return verdict;
  }

  #sort(batch: Batch, sender: Sender, sync: Sync): Sorted {
    const { clock, lateDaysMax, aheadSecondsMax } = this.#options;
    const bounds = { nowNanos: clock.nowNanos(), lateDaysMax, aheadNanosMax: BigInt(aheadSecondsMax) * 1_000_000_000n };
    const provenance: Provenance = {
      credentialId: sender.credentialId,
      instanceId: batch.instanceId,
      sequence: batch.sequence,
      receivedAtNanos: this.#receivedAt(bounds.nowNanos),
    };
    const sorted: Sorted = {
      fresh: [],
      backfilled: [],
      keys: [],
      rows: [],
      touched: new TouchedHours(),
      awaited: new Set(),
      faults: [],
      duplicate: 0,
      conflicting: 0,
    };
    batch.metrics.forEach((metrics, index) => {
      try {
        this.#sortOne(parseWindow(metrics, sender, bounds), index, { sorted, provenance, bounds, sync });
      } catch (reason) {
        if (!(reason instanceof CallerFault)) throw reason;
        sorted.faults.push({ index, fault: reason });
      }
    });
    return sorted;
  }

  #sortOne(
    window: Window,
    index: number,
    into: { sorted: Sorted; provenance: Provenance; bounds: TimeBounds; sync: Sync },
  ): void {
    const { sorted, provenance, bounds, sync } = into;
    const { row, valueHash } = encodeRow(window, provenance);
    const key = windowKey(window.customerId, window.vmId, window.startNanos, window.endNanos);
    const known = this.#options.recent.look(key, valueHash);
    if (known.state === 'duplicate') {
      sorted.duplicate++;
      // A duplicate inside this very batch waits for the sync that the batch itself is about to start.
      if (known.sync !== sync && known.sync.done !== undefined) sorted.awaited.add(known.sync.done);
      return;
    }
    // A conflicting report is kept as well: it lies beside the first, which stays the one that counts.
    sorted.rows.push(row);
    sorted.touched.add(window.customerId, window.startNanos, window.endNanos);
    if (known.state === 'conflict') {
      sorted.conflicting++;
      sorted.faults.push({ index, fault: conflictFault(window) });
      return;
    }
    this.#options.recent.remember(key, valueHash, sync);
    sorted.keys.push(key);
    sorted.fresh.push(window);
    if (isLate(window.endNanos, bounds)) sorted.backfilled.push(window);
  }

  async #store(sorted: Sorted, sync: Sync): Promise<void> {
    // Set before anything is awaited: a duplicate that comes in meanwhile has to find it.
    sync.done = this.#options.spool.append(encodeRecord(sorted.rows, sorted.touched));
    try {
      await sync.done;
    } catch (reason) {
      this.#options.recent.forget(sorted.keys, sync);
      throw reason;
    }
    sync.done = undefined;
  }

  /** Strictly rising, so that of two reports in one tick the first is known; ties would be settled by their hashes. */
  #receivedAt(nowNanos: bigint): bigint {
    this.#lastReceivedNanos = nowNanos > this.#lastReceivedNanos ? nowNanos : this.#lastReceivedNanos + 1n;
    return this.#lastReceivedNanos;
  }
}

function checkBatch(batch: Batch, windowsMax: number): void {
  if (batch.counterTemporality === CounterTemporality.CUMULATIVE) {
    const message = 'counter_temporality: CUMULATIVE is not accepted; send deltas over each window';
    throw new CallerFault('unimplemented', 'counter_temporality', message);
  }
  if (batch.metrics.length === 0)
    throw new CallerFault('invalid_argument', 'metrics', 'metrics is empty: no windows sent');
  if (batch.metrics.length > windowsMax) {
    const message = `metrics: ${batch.metrics.length} windows in one batch, more than ${windowsMax}`;
    throw new CallerFault('invalid_argument', 'metrics', message);
  }
  if (batch.instanceId !== '') parseId('instance_id', batch.instanceId);
}

function conflictFault(window: Window): CallerFault {
  const message = `the window of VM "${window.vmId}" was reported before with other values; the first report stays`;
  return new CallerFault('already_exists', '', message);
}
