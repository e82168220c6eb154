import type { Clock } from '../lib/clock.ts';
import type { CallerFault } from '../lib/failure.ts';
import type { RecentWindows } from './dedup.ts';
import type { RefusedBatch } from './refused.ts';
import type { TimeBounds } from './validate.ts';

/** Why one window or reading was not taken; `index` is its place in the batch. */
export interface WindowFault {
  readonly index: number;
  readonly fault: CallerFault;
}

/** What became of each window or reading of a batch. The four counts add up to the batch. */
export interface Verdict {
  readonly accepted: number;
  readonly duplicate: number;
  readonly conflicting: number;
  readonly refused: number;
  /** One for each conflicting or refused one, in order. */
  readonly faults: readonly WindowFault[];
}

/** What only the right to backfill let in, summed up. */
export interface Backfilled {
  windows: number;
  fromNanos: bigint;
  toNanos: bigint;
}

/** The spool as ingest needs it. */
export interface Appender {
  /** Resolves when the payload is on disk. @throws NotNow where there is no room */
  append(payload: readonly Uint8Array[]): Promise<void>;
}

/** What every way of taking usage stands on. */
export interface IntakeOptions {
  readonly clock: Clock;
  readonly spool: Appender;
  readonly recent: RecentWindows;
  readonly batchWindowsMax: number;
  readonly lateDaysMax: number;
  readonly rawDays: number;
  readonly aheadSecondsMax: number;
  /** Told of each batch that was answered. */
  readonly onVerdict: (verdict: Verdict) => void;
  /** Told of what was refused once the rest of its batch is on disk; not of conflicting reports, which are stored. */
  readonly onRefused: (refused: RefusedBatch) => void;
  /** Told of what only the right to backfill let in, once it is on disk. */
  readonly onBackfilled: (credentialId: string, backfilled: Backfilled) => void;
}

/** How far from `nowNanos` what is reported may lie. */
export function boundsAt(
  nowNanos: bigint,
  { lateDaysMax, rawDays, aheadSecondsMax }: Pick<IntakeOptions, 'lateDaysMax' | 'rawDays' | 'aheadSecondsMax'>,
): TimeBounds {
  return { nowNanos, lateDaysMax, rawDays, aheadNanosMax: BigInt(aheadSecondsMax) * 1_000_000_000n };
}

export function nothingBackfilled(): Backfilled {
  return { windows: 0, fromNanos: 1n << 63n, toNanos: 0n };
}

export function noteBackfilled(sum: Backfilled, startNanos: bigint, endNanos: bigint): void {
  sum.windows++;
  if (startNanos < sum.fromNanos) sum.fromNanos = startNanos;
  if (endNanos > sum.toNanos) sum.toNanos = endNanos;
}

/** Strictly rising, so that of two reports in one tick the first is known; ties would be settled by their hashes. */
export class ReceiptClock {
  #lastNanos = 0n;

  at(nowNanos: bigint): bigint {
    this.#lastNanos = nowNanos > this.#lastNanos ? nowNanos : this.#lastNanos + 1n;
    return this.#lastNanos;
  }
}
