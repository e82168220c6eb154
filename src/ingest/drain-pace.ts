/** How much is stored at once, and how often. The one place for these bounds. */
export interface DrainSizes {
  /** Bytes of one insert, to within one read. */
  readonly insertBytesMax: number;
  /** Bytes read from the spool and sent at once: so much of an insert is in memory. */
  readonly readBytesMax: number;
  /** How long records wait for others to share their insert while ClickHouse keeps up: where little comes in, and where much does. */
  readonly ageMsMin: number;
  readonly ageMsMax: number;
  /** The insert up to which `ageMsMin` holds; the wait grows with what is beyond. */
  readonly muchBytes: number;
  /** What inserts shrink to where ClickHouse has too little room, and what a probe is. */
  readonly insertBytesMin: number;
  /** The longest pause between inserts where ClickHouse is behind with merging. */
  readonly pauseMsMax: number;
}

const MIB = 1024 * 1024;

export const DRAIN_SIZES: DrainSizes = {
  // Each insert becomes a part that has to be merged. 6 million windows cost ClickHouse 2.51 µs each with their merges in inserts
  // of 14 MiB, and 1.56 in inserts of 56 MiB. It holds an insert in memory until its end, which bounds it from above.
  insertBytesMax: 64 * MIB,
  // ClickHouse takes it as one block, of some 18,000 windows; larger ones cost it no less.
  readBytesMax: 4 * MIB,
  // Ten parts a second at most where little comes in. Queries see a window about this much later.
  ageMsMin: 100,
  // One part a second where much does.
  ageMsMax: 1_000,
  // At 200 bytes a window, inserts stay small up to some 200,000 windows/s: an ack may have to wait for the disk behind a large one.
  muchBytes: 4 * MIB,
  // A few calls' windows. Smaller ones would only cost parts.
  insertBytesMin: MIB,
  // A full insert after each such pause is still about 60,000 windows/s, at the 200 bytes of a usual window.
  pauseMsMax: 5_000,
};

/** The half-life of what the rate was: it follows a change within seconds, and one slow batch does not upset it. */
const RATE_HALF_LIFE_MS = 5_000;
/** Inserts get back to their full size in as many good batches, and the pause by this factor in each. */
const RECOVERY_STEPS = 16;
const PAUSE_SHRINK = 0.75;

/**
 * How fast the spool is drained: as fast as ClickHouse takes it, and slower as soon as ClickHouse says that it is too fast.
 * Halved at once and regained in small steps, so that it settles below what is too much. No I/O, no clock.
 */
export class DrainPace {
  readonly #sizes: DrainSizes;
  #insertBytes: number;
  #pauseMs: number;
  #ratedBytes = 0;
  #ratedMs = 0;

  constructor(sizes: DrainSizes) {
    this.#sizes = sizes;
    this.#insertBytes = sizes.insertBytesMax;
    this.#pauseMs = sizes.ageMsMin;
  }

  /** Bytes of one insert now. */
  get insertBytes(): number {
    return this.#insertBytes;
  }

  /**
   * How long to wait before the next insert: the more came in, the longer, so that it is a large one.
   * @param storedBytes what the last insert held
   * @param waitingBytes what is ready to be read
   */
  pauseMs(storedBytes: number, waitingBytes: number): number {
    const { ageMsMin, ageMsMax, muchBytes } = this.#sizes;
    if (this.#pauseMs <= ageMsMin && waitingBytes >= this.#insertBytes) return 0;
    const gatherMs = (ageMsMin * Math.max(muchBytes, storedBytes)) / muchBytes;
    return Math.max(this.#pauseMs, Math.min(ageMsMax, gatherMs));
  }

  /** ClickHouse took too long over an insert, or has no memory or no thread for it: less at once. */
  tooMuch(): void {
    this.#insertBytes = Math.max(this.#sizes.insertBytesMin, Math.floor(this.#insertBytes / 2));
  }

  /** ClickHouse has more parts than it can merge: less often, and so larger blocks, never smaller ones. */
  tooOften(): void {
    this.#pauseMs = Math.min(this.#sizes.pauseMsMax, 2 * this.#pauseMs);
  }

  stored(): void {
    const { insertBytesMax, ageMsMin } = this.#sizes;
    this.#insertBytes = Math.min(insertBytesMax, this.#insertBytes + Math.ceil(insertBytesMax / RECOVERY_STEPS));
    this.#pauseMs = Math.max(ageMsMin, this.#pauseMs * PAUSE_SHRINK);
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
