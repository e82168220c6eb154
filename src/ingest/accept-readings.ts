import type { BillingMetrics } from '../../gen/billing/v1/metrics_pb.ts';
import { CallerFault } from '../lib/failure.ts';
import { parseId } from '../lib/identifier.ts';
import type { Sync } from './dedup.ts';
import { encodeEvidence } from './evidence-rows.ts';
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
import { type Reading, type SampleRow, sampleRow } from './reading.ts';
import { ReadingWalk } from './reading-walk.ts';
import { encodeRecord, TouchedHours } from './record.ts';
import type { RefusedWindow } from './refused.ts';
import { touchAround } from './touch-around.ts';
import { isLate, type TimeBounds } from './validate.ts';
import type { Sender } from './window.ts';
import { NO_WINDOWS } from './window-block.ts';

/** A reading as it was reported. */
export interface ReportedReading {
  /** @throws CallerFault where it is refused */
  readonly parse: (sender: Sender, bounds: TimeBounds) => Reading;
  /** As it is kept where it is refused; `undefined` where it could not be decoded. */
  readonly shown: () => BillingMetrics | undefined;
}

/** One call's readings. */
export interface ReadingBatch {
  readonly reports: readonly ReportedReading[];
  readonly instanceId: string;
}

/** The readings of a batch that are sound, with the others' faults. */
interface Parsed {
  readonly readings: ReadonlyMap<number, Reading>;
  readonly faults: WindowFault[];
  readonly refused: RefusedWindow[];
}

/** What is new of a batch. */
interface Fresh {
  readonly rows: SampleRow[];
  readonly touched: TouchedHours;
  readonly backfilled: Backfilled;
  /** The syncs that duplicates of readings still on their way to disk wait for. */
  readonly awaited: Set<Promise<void>>;
  readonly conflicts: WindowFault[];
  duplicate: number;
}

/** What goes with a batch from its start on. */
interface Call {
  readonly bounds: TimeBounds;
  readonly sync: Sync;
  readonly number: number;
}

/**
 * The path of readings of counters to the promise, as `Ingest` is that of windows: when `accept` returns, every reading that
 * it counts as accepted or duplicate is on disk. Windows are derived from them when an hour is computed, so nothing here
 * depends on their order.
 */
export class ReadingIntake {
  readonly #options: IntakeOptions;
  readonly #receipts = new ReceiptClock();

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** @throws CallerFault where the batch as a whole is wrong; NotNow where there is no room */
  async accept(batch: ReadingBatch, sender: Sender): Promise<Verdict> {
    checkBatch(batch, this.#options.batchWindowsMax);
    const { clock, recent } = this.#options;
    const nowNanos = clock.nowNanos();
    const receivedAtNanos = this.#receipts.at(nowNanos);
    const { instanceId } = batch;
    const provenance = { credentialId: sender.credentialId, instanceId, receivedAtNanos };
    const bounds = boundsAt(nowNanos, this.#options);
    const parsed = parseAll(batch, sender, bounds);
    const sync: Sync = { done: undefined };
    const call = { bounds, sync, number: recent.begin(sync) };
    const fresh = nothingFresh();
    for (const [index, reading] of parsed.readings) {
      this.#settle(index, sampleRow(reading, provenance), call, fresh);
    }
    await this.#store(fresh, call);
    await Promise.all(fresh.awaited);
    const verdict = verdictOf(parsed, fresh);
    if (fresh.backfilled.windows > 0) this.#options.onBackfilled(sender.credentialId, fresh.backfilled);
    if (parsed.refused.length > 0) this.#options.onRefused({ ...provenance, windows: parsed.refused });
    this.#options.onVerdict(verdict);
    return verdict;
  }

  #settle(index: number, row: SampleRow, { bounds, sync, number }: Call, fresh: Fresh): void {
    const { recent } = this.#options;
    const head = new ReadingWalk([row]);
    head.next();
    const known = recent.take(head, number);
    if (known === 'duplicate') {
      fresh.duplicate++;
      const first = recent.syncOf(head);
      // A duplicate inside this very batch waits for the sync that the batch itself is about to start.
      if (first !== undefined && first !== sync && first.done !== undefined) fresh.awaited.add(first.done);
      return;
    }
    fresh.rows.push(row);
    touchAround(fresh.touched, row.customer_id, row.sampled_at, row.sampled_at, bounds);
    if (known === 'conflict') {
      const message = 'the VM was read before at this instant with other values; the first report stays';
      fresh.conflicts.push({ index, fault: new CallerFault('already_exists', '', message) });
    } else if (isLate(row.sampled_at, bounds)) noteBackfilled(fresh.backfilled, row.sampled_at, row.sampled_at);
  }

  async #store({ rows, touched }: Fresh, { sync, number }: Call): Promise<void> {
    const { recent, spool } = this.#options;
    if (rows.length === 0) {
      recent.end(number);
      return;
    }
    try {
      const evidence = [encodeEvidence('counter_samples', rows)];
      // Set before anything is awaited: a duplicate that comes in meanwhile has to find it.
      sync.done = spool.append(encodeRecord(NO_WINDOWS, touched, evidence));
      await sync.done;
    } catch (reason) {
      recent.forget(new ReadingWalk(rows), number);
      throw reason;
    }
    sync.done = undefined;
    recent.end(number);
  }
}

function checkBatch({ reports, instanceId }: ReadingBatch, readingsMax: number): void {
  if (reports.length === 0) throw new CallerFault('invalid_argument', 'metrics', 'metrics is empty: no readings sent');
  if (reports.length > readingsMax) {
    const message = `metrics: ${reports.length} readings in one batch, more than ${readingsMax}`;
    throw new CallerFault('invalid_argument', 'metrics', message);
  }
  if (instanceId !== '') parseId('instance_id', instanceId);
}

function parseAll({ reports }: ReadingBatch, sender: Sender, bounds: TimeBounds): Parsed {
  const readings = new Map<number, Reading>();
  const faults: WindowFault[] = [];
  const refused: RefusedWindow[] = [];
  reports.forEach((report, index) => {
    try {
      readings.set(index, report.parse(sender, bounds));
    } catch (reason) {
      if (!(reason instanceof CallerFault)) throw reason;
      faults.push({ index, fault: reason });
      refused.push({ metrics: report.shown(), fault: reason });
    }
  });
  return { readings, faults, refused };
}

function nothingFresh(): Fresh {
  return {
    rows: [],
    touched: new TouchedHours(),
    backfilled: nothingBackfilled(),
    awaited: new Set(),
    conflicts: [],
    duplicate: 0,
  };
}

function verdictOf({ faults, refused }: Parsed, { rows, conflicts, duplicate }: Fresh): Verdict {
  return {
    accepted: rows.length - conflicts.length,
    duplicate,
    conflicting: conflicts.length,
    refused: refused.length,
    faults: [...faults, ...conflicts].toSorted((a, b) => a.index - b.index),
  };
}
