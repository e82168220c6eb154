/** How much is stored at once, and how often. The one place for these bounds. */
export interface DrainSizes {
  /** Bytes and rows of one insert, to within one record: whichever is reached first ends it. */
  readonly blockBytesMax: number;
  readonly blockRowsMax: number;
  /** Inserts under way beside each other. */
  readonly blocksMax: number;
  /** How long a record waits for others to share its insert, while ClickHouse keeps up. */
  readonly ageMsMax: number;
  /** What inserts shrink to where ClickHouse has too little room, and what a probe is. */
  readonly blockBytesMin: number;
  /** The longest pause between batches where ClickHouse is behind with merging. */
  readonly pauseMsMax: number;
}

export const DRAIN_SIZES: DrainSizes = {
  // Each insert becomes a part that has to be merged: the larger, the fewer. What is read at once stays in meterd's memory
  // until it is stored, which bounds it from above. Two beside each other: one is sent while the other is sorted.
  blockBytesMax: 14 * 1024 * 1024,
  blocksMax: 2,
  // The upper end of what ClickHouse's manual calls a good block. Bytes end most blocks before: a row has at least 150.
  blockRowsMax: 100_000,
  // Ten parts a second at most where little comes in. Queries see a window about this much later.
  ageMsMax: 100,
  // A few calls' windows. Smaller ones would only cost parts.
  blockBytesMin: 1024 * 1024,
  // A full batch after each such pause is still about 25,000 windows/s, at the 215 bytes of a usual row.
  pauseMsMax: 5_000,
};

/** The half-life of what the rate was: it follows a change within seconds, and one slow batch does not upset it. */
const RATE_HALF_LIFE_MS = 5_000;
/** Blocks get back to their full size in as many good batches, and the pause by this factor in each. */
const RECOVERY_STEPS = 16;
const PAUSE_SHRINK = 0.75;

/**
 * How fast the spool is drained: as fast as ClickHouse takes it, and slower as soon as ClickHouse says that it is too fast.
 * Halved at once and regained in small steps, so that it settles below what is too much. No I/O, no clock.
 */
export class DrainPace {
  readonly #sizes: DrainSizes;
  #blockBytes: number;
  #pauseMs: number;
  #ratedBytes = 0;
  #ratedMs = 0;

  constructor(sizes: DrainSizes) {
    this.#sizes = sizes;
    this.#blockBytes = sizes.blockBytesMax;
    this.#pauseMs = sizes.ageMsMax;
  }

  /** Bytes of one insert now. */
  get blockBytes(): number {
    return this.#blockBytes;
  }

  /** Bytes to read at once: one insert where blocks are not at their full size. */
  get readBytesMax(): number {
    return this.#blockBytes * (this.#blockBytes < this.#sizes.blockBytesMax ? 1 : this.#sizes.blocksMax);
  }

  /** How long to wait before the next batch. @param waitingBytes what is ready to be read */
  pauseMs(waitingBytes: number): number {
    const { ageMsMax } = this.#sizes;
    return this.#pauseMs <= ageMsMax && waitingBytes >= this.#blockBytes ? 0 : this.#pauseMs;
  }

  /** ClickHouse took too long over an insert, or has no memory or no thread for it: less at once. */
  tooMuch(): void {
    this.#blockBytes = Math.max(this.#sizes.blockBytesMin, Math.floor(this.#blockBytes / 2));
  }

  /** ClickHouse has more parts than it can merge: less often, and so larger blocks, never smaller ones. */
  tooOften(): void {
    this.#pauseMs = Math.min(this.#sizes.pauseMsMax, 2 * this.#pauseMs);
  }

  stored(): void {
    const { blockBytesMax, ageMsMax } = this.#sizes;
    this.#blockBytes = Math.min(blockBytesMax, this.#blockBytes + Math.ceil(blockBytesMax / RECOVERY_STEPS));
    this.#pauseMs = Math.max(ageMsMax, this.#pauseMs * PAUSE_SHRINK);
  }

  /** Notes how long a batch took, its pause included. Only batches that left others waiting tell how fast it can go. */
  rate(bytes: number, durationMs: number): void {
    const kept = 0.5 ** (durationMs / RATE_HALF_LIFE_MS);
    this.#ratedBytes = this.#ratedBytes * kept + bytes;
    this.#ratedMs = this.#ratedMs * kept + durationMs;
  }

  /** How long it takes to drain so many bytes; `undefined` where nothing was measured yet. */
  durationMs(bytes: number): number | undefined {
    return this.#ratedBytes > 0 ? (bytes * this.#ratedMs) / this.#ratedBytes : undefined;
  }
}
