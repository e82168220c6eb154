/** Where time comes from. Tests pass a clock of their own; nothing else in `src` reads the system's. */
export interface Clock {
  /** Unix time in milliseconds. */
  nowMs(): number;
  /** Unix time in nanoseconds, as fine as the clock tells. */
  nowNanos(): bigint;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  nowNanos: () => BigInt(Date.now()) * 1_000_000n,
};
