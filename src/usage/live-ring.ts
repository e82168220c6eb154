import type { AcceptedWindow } from './window.ts';

/** Windows acknowledged together: an array, or something that decodes them only when it is walked. */
export type AcceptedBatch = Iterable<AcceptedWindow> & { readonly length: number };

/**
 * The last batches, numbered from 1 without holes. Bounded in batches and in windows; the oldest go first, so a single
 * batch over the bound is not kept.
 */
export class LiveRing {
  readonly #slots: (AcceptedBatch | undefined)[];
  readonly #windowsMax: number;
  #windows = 0;
  /** Number of the oldest batch that is kept; above `#newest` where none is. */
  #oldest = 1;
  #newest = 0;

  constructor(bounds: { readonly batchesMax: number; readonly windowsMax: number }) {
    this.#slots = Array.from({ length: bounds.batchesMax });
    this.#windowsMax = bounds.windowsMax;
  }

  /** The number of the last batch, 0 before the first. */
  get newest(): number {
    return this.#newest;
  }

  push(batch: AcceptedBatch): void {
    if (this.#newest - this.#oldest + 1 >= this.#slots.length) this.#dropOldest();
    this.#newest++;
    this.#slots[this.#newest % this.#slots.length] = batch;
    this.#windows += batch.length;
    while (this.#windows > this.#windowsMax) this.#dropOldest();
  }

  /** Counts a batch without keeping it: with it, all that was kept before is of no use to anybody. */
  skip(): void {
    while (this.#oldest <= this.#newest) this.#dropOldest();
    this.#newest++;
    this.#oldest = this.#newest + 1;
  }

  /** The batches behind number `after`; `undefined` where not all of them are kept, or `after` was never given out. */
  since(after: number): AcceptedBatch[] | undefined {
    if (after + 1 < this.#oldest || after > this.#newest) return undefined;
    const batches: AcceptedBatch[] = [];
    for (let number = after + 1; number <= this.#newest; number++) {
      const batch = this.#slots[number % this.#slots.length];
      if (batch) batches.push(batch);
    }
    return batches;
  }

  #dropOldest(): void {
    const slot = this.#oldest % this.#slots.length;
    this.#windows -= this.#slots[slot]?.length ?? 0;
    this.#slots[slot] = undefined;
    this.#oldest++;
  }
}
