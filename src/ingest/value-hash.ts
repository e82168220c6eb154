/** Twelve 64-bit values as 32-bit words, the low one first: the fields 7 to 18 of a window, in order. */
export type ValueWords = Uint32Array;
export const VALUE_WORDS = 24;

/** The hash's two halves, written by `hashValues`. Two numbers, since a bigint a window costs more than the hash. */
export const hashOut = { low: 0, high: 0 };

/**
 * The 64-bit hash of what a window says: the twelve values, then the region. It decides whether two reports of one window
 * are the same, and it is part of the table's key: it must never change.
 *
 * Two 32-bit lanes of MurmurHash3's mixing with different constants, crossed at the end. Values that differ in one word
 * never collide; any others do about once in 2^64. It is no defence against a sender who looks for collisions: those would
 * be between two reports of its own.
 * @param region bytes of `source` from `regionStart` to `regionEnd`
 */
export function hashValues(words: ValueWords, source: Uint8Array, regionStart: number, regionEnd: number): void {
  let a = 0x9747b28c | 0;
  let b = 0x5bd1e995 | 0;
  for (let i = 0; i < VALUE_WORDS; i++) {
    const word = words[i] ?? 0;
    let mixed = Math.imul(word, 0xcc9e2d51);
    mixed = (mixed << 15) | (mixed >>> 17);
    a ^= Math.imul(mixed, 0x1b873593);
    a = Math.imul((a << 13) | (a >>> 19), 5) + 0xe6546b64;
    mixed = Math.imul(word, 0x239b961b);
    mixed = (mixed << 16) | (mixed >>> 16);
    b ^= Math.imul(mixed, 0xab0e9789);
    b = Math.imul((b << 17) | (b >>> 15), 5) + 0x0bcaa747;
  }
  for (let i = regionStart; i < regionEnd; i++) {
    const byte = source[i] ?? 0;
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b ^ byte, 0x2c1b3c6d);
    b = (b << 5) | (b >>> 27);
  }
  const length = regionEnd - regionStart;
  a = finish(a ^ length);
  b = finish(b ^ Math.imul(length, 0x9e3779b1));
  a = (a + b) | 0;
  b = (b + Math.imul(a, 3)) | 0;
  hashOut.low = a >>> 0;
  hashOut.high = b >>> 0;
}

/** MurmurHash3's finalizer: every bit of the input reaches every bit of the output. */
function finish(hash: number): number {
  let h = hash;
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}
