import type { RowHead } from './row-scan.ts';
import type { TimeBounds } from './validate.ts';
import type { Sender } from './window.ts';
import type { TextPlace } from './window-block.ts';

const DAY_SECONDS = 86_400;
/** As `validate.ts` has it. */
const REACH_SECONDS = 7200;
const NOTHING = Buffer.alloc(0);

/**
 * What a window read from the wire is held against: when it may have been, and for whom and where its sender may report.
 * Whatever is not beyond doubt goes the ordinary way, and `validate.ts` then says what is wrong, if anything is.
 */
export class SenderScope {
  /**
   * Between these a window's end is beyond doubt: to the whole second within the bounds, and what lies in the second at a bound goes
   * the ordinary way. A late window is never beyond doubt, whatever the right to backfill: its use is noted on the ordinary way.
   */
  readonly afterSeconds: number;
  readonly beforeSeconds: number;

  readonly #sender: Sender;
  /** The last region and customer that were looked up and allowed: those of the next window are mostly the same. */
  #region: Buffer = NOTHING;
  #customer: Buffer = NOTHING;

  constructor(sender: Sender, bounds: TimeBounds) {
    this.#sender = sender;
    this.beforeSeconds = Number((bounds.nowNanos + bounds.aheadNanosMax) / 1_000_000_000n) - 1;
    const keptSeconds = bounds.rawDays * DAY_SECONDS - REACH_SECONDS;
    const lateSeconds = Math.min(bounds.lateDaysMax * DAY_SECONDS, keptSeconds);
    this.afterSeconds = Number(bounds.nowNanos / 1_000_000_000n) + 1 - lateSeconds;
  }

  allows({ customer, region }: RowHead & { readonly region: TextPlace }): boolean {
    const { regions, customerIds } = this.#sender;
    if (regions !== undefined && !isSame(this.#region, region)) {
      if (!regions.has(textOf(region))) return false;
      this.#region = copyOf(region);
    }
    if (customerIds !== undefined && !isSame(this.#customer, customer)) {
      if (!customerIds.has(textOf(customer))) return false;
      this.#customer = copyOf(customer);
    }
    return true;
  }
}

function isSame(known: Buffer, { bytes, start, end }: TextPlace): boolean {
  if (known.length !== end - start) return false;
  for (let i = 0; i < known.length; i++) if (known[i] !== bytes[start + i]) return false;
  return true;
}

function copyOf({ bytes, start, end }: TextPlace): Buffer {
  return Buffer.from(bytes.subarray(start, end));
}

/** Of a text from the wire, which is plain ASCII and has its length in one byte. */
function textOf({ bytes, start, end }: TextPlace): string {
  return bytes.toString('latin1', start + 1, end);
}
