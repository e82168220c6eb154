import type { TimeBounds } from './validate.ts';
import type { Sender } from './window.ts';
import type { WireWindow } from './wire-window.ts';

/** Years 2000 to 2200, as `validate.ts` has them. */
const EARLIEST_SECONDS = 946_684_800;
const LATEST_SECONDS = 7_258_118_400;
const WINDOW_SECONDS_MAX = 3600;
const DAY_SECONDS = 86_400;
/** As `validate.ts` has it. */
const REACH_SECONDS = 7200;
/** "default-customer" is the only id of this length that is refused. */
const NO_CUSTOMER_BYTES = 16;

/**
 * Whether a window read from the wire is beyond doubt one that its sender may report now. Like `WireWindow.read` it
 * answers false to everything else, and `validate.ts` then says what is wrong, if anything is.
 */
export class SenderScope {
  readonly #sender: Sender;
  readonly #aheadSeconds: number;
  readonly #lateSeconds: number;
  /** The last region and customer that were looked up and allowed: those of the next window are mostly the same. */
  #region: Uint8Array = new Uint8Array();
  #customer: Uint8Array = new Uint8Array();

  constructor(sender: Sender, bounds: TimeBounds) {
    this.#sender = sender;
    // To the whole second within the bounds; what lies in the second at the bound goes the ordinary way.
    this.#aheadSeconds = Number((bounds.nowNanos + bounds.aheadNanosMax) / 1_000_000_000n) - 1;
    const keptSeconds = bounds.rawDays * DAY_SECONDS - REACH_SECONDS;
    const lateSeconds = Math.min(bounds.lateDaysMax * DAY_SECONDS, keptSeconds);
    this.#lateSeconds = Number(bounds.nowNanos / 1_000_000_000n) + 1 - lateSeconds;
  }

  allows(wire: WireWindow): boolean {
    return timesAreSound(wire) && this.#isTimely(wire) && gaugesAreSound(wire.words) && this.#mayReport(wire);
  }

  /** A late window is never beyond doubt, whatever the right to backfill: its use is noted on the ordinary way. */
  #isTimely({ endSeconds }: WireWindow): boolean {
    return endSeconds < this.#aheadSeconds && endSeconds > this.#lateSeconds;
  }

  #mayReport(wire: WireWindow): boolean {
    const { regions, customerIds } = this.#sender;
    if (wire.customerEnd - wire.customerStart === NO_CUSTOMER_BYTES) return false;
    if (wire.regionEnd - wire.regionStart > 64) return false;
    if (regions !== undefined && !isSame(this.#region, wire.bytes, wire.regionStart, wire.regionEnd)) {
      this.#region = wire.bytes.slice(wire.regionStart, wire.regionEnd);
      if (!regions.has(textOf(this.#region))) return this.#forget();
    }
    if (customerIds !== undefined && !isSame(this.#customer, wire.bytes, wire.customerStart, wire.customerEnd)) {
      this.#customer = wire.bytes.slice(wire.customerStart, wire.customerEnd);
      if (!customerIds.has(textOf(this.#customer))) return this.#forget();
    }
    return true;
  }

  #forget(): false {
    this.#region = this.#customer = new Uint8Array();
    return false;
  }
}

function timesAreSound(wire: WireWindow): boolean {
  const { startSeconds, startNanos, endSeconds, endNanos, sampledSeconds } = wire;
  if (startSeconds < EARLIEST_SECONDS || endSeconds >= LATEST_SECONDS) return false;
  if (sampledSeconds < EARLIEST_SECONDS || sampledSeconds >= LATEST_SECONDS) return false;
  const seconds = endSeconds - startSeconds;
  if (seconds < 0 || seconds > WINDOW_SECONDS_MAX) return false;
  if (seconds === 0) return endNanos > startNanos;
  return seconds < WINDOW_SECONDS_MAX || endNanos <= startNanos;
}

/** Neither negative nor infinite nor no number: the sign and the exponent, in the upper words of fields 8 and 9. */
function gaugesAreSound(words: Uint32Array): boolean {
  return (words[3] ?? 0) >>> 20 < 0x7ff && (words[5] ?? 0) >>> 20 < 0x7ff;
}

function isSame(known: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (known.length === 0 || known.length !== end - start) return false;
  for (let i = 0; i < known.length; i++) if (known[i] !== bytes[start + i]) return false;
  return true;
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
