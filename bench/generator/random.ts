/** Pseudo-random whole numbers: the same seeds give the same numbers, on every machine (sfc32). */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param seeds whole numbers; each combination starts a sequence of its own */
  constructor(...seeds: readonly number[]) {
    this.#a = 0x9e3779b9;
    this.#b = 0x243f6a88;
    this.#c = 0xb7e15162;
    for (const seed of seeds) {
      this.#a ^= seed >>> 0;
      for (let i = 0; i < 12; i++) this.#next();
    }
  }

  /** A whole number in `[0, bound)`; the bound is at most 2^32. */
  below(bound: number): number {
    return Math.floor((this.#next() / 0x1_0000_0000) * bound);
  }

  /** A whole number in `[from, to]`. */
  between(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  /** True in so many of a thousand cases. */
  chance(permille: number): boolean {
    return this.below(1000) < permille;
  }

  /** @throws Error where there is nothing to pick from */
  pick<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }
}
