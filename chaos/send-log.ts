import type { Random } from '../bench/generator/random.ts';

/** The oracle: which batches of a fleet were ever sent, and which of them were acknowledged. */
export class SendLog {
  readonly #acknowledged = new Set<number>();
  #next = 0;

  /** How many were sent: their numbers are below. */
  get sent(): number {
    return this.#next;
  }

  get acknowledged(): ReadonlySet<number> {
    return this.#acknowledged;
  }

  /** A batch that was never sent, which counts as sent from now on. */
  takeNew(): number {
    return this.#next++;
  }

  /** A batch that was sent before, acknowledged or not; a new one where there is none. */
  takeOld(random: Random): number {
    return this.#next === 0 ? this.takeNew() : random.below(this.#next);
  }

  acknowledge(batch: number): void {
    this.#acknowledged.add(batch);
  }
}
