/**
 * A rate with a burst: it fills by `perSecond` up to `burst`. What is spent may go below zero, since what a call takes is
 * known only after it came; the debt is waited for.
 */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  #level: number;
  #atMs: number;

  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#level = burst;
    this.#atMs = nowMs;
  }

  /** How long until something may be spent; 0 where it may be now. */
  waitMs(nowMs: number): number {
    this.#fill(nowMs);
    return this.#level > 0 ? 0 : Math.max(1, Math.ceil(((1 - this.#level) * 1000) / this.#perSecond));
  }

  spend(amount: number): void {
    this.#level -= amount;
  }

  isFull(nowMs: number): boolean {
    this.#fill(nowMs);
    return this.#level >= this.#burst;
  }

  #fill(nowMs: number): void {
    this.#level = Math.min(this.#burst, this.#level + ((nowMs - this.#atMs) * this.#perSecond) / 1000);
    this.#atMs = nowMs;
  }
}
