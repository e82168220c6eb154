import type { SampleRow } from './reading.ts';
import type { RowWalk } from './row-scan.ts';
import { type TextPlace, viewOf } from './window-block.ts';

const HOUR_NANOS = 3_600_000_000_000n;
const LOW_WORD = 0xffff_ffffn;
const NO_TEXT = placeOf('');

/** Goes over readings as deduplication sees them: as windows of length 0, which no window is. */
export class ReadingWalk implements RowWalk {
  customer: TextPlace = NO_TEXT;
  vm: TextPlace = NO_TEXT;
  hour = 0;
  offsetNanos = 0;
  readonly lengthNanos = 0;
  hashLow = 0;
  hashHigh = 0;

  readonly #rows: Iterator<SampleRow>;

  constructor(rows: Iterable<SampleRow>) {
    this.#rows = rows[Symbol.iterator]();
  }

  next(): boolean {
    const { done, value } = this.#rows.next();
    if (done === true) return false;
    // Ids hold no control characters, so no two keys are the same bytes, and none is the same as a window's, which starts
    // with the length of its customer's id.
    this.customer = placeOf(`\0${value.customer_id}`);
    this.vm = placeOf(`\0${value.vm_id}`);
    this.hour = Number(value.sampled_at / HOUR_NANOS);
    this.offsetNanos = Number(value.sampled_at % HOUR_NANOS);
    this.hashLow = Number(value.value_hash & LOW_WORD);
    this.hashHigh = Number(value.value_hash >> 32n);
    return true;
  }
}

function placeOf(text: string): TextPlace {
  const bytes = Buffer.from(text);
  return { bytes, view: viewOf(bytes), start: 0, end: bytes.length };
}
