const STEP_MS = 1000;
const STEPS_MAX = 4096;

/**
 * When records were appended, to the second, so that the age of the oldest unapplied one is known without a look at
 * the disk. Bounded: a long backlog is remembered in coarser steps, which can only make it look older.
 */
export class AppendTimes {
  /** Each step: the records up to and including `lastRecord` were appended at `atMs` or later. */
  #steps: { readonly atMs: number; lastRecord: number }[] = [];

  add(lastRecord: number, atMs: number): void {
    const last = this.#steps.at(-1);
    if (last !== undefined && atMs < last.atMs + STEP_MS) {
      last.lastRecord = lastRecord;
      return;
    }
    this.#steps.push({ atMs, lastRecord });
    if (this.#steps.length <= STEPS_MAX) return;
    // The later of two steps goes into the earlier one.
    this.#steps = this.#steps.flatMap((step, index) =>
      index % 2 === 0 ? [{ atMs: step.atMs, lastRecord: this.#steps[index + 1]?.lastRecord ?? step.lastRecord }] : [],
    );
  }

  /** Forgets the records up to and including `record`. */
  forget(record: number): void {
    const first = this.#steps.findIndex((step) => step.lastRecord > record);
    this.#steps.splice(0, first < 0 ? this.#steps.length : first);
  }

  /** When the oldest record left was appended, in Unix milliseconds; `undefined` where none is left. */
  get oldestMs(): number | undefined {
    return this.#steps[0]?.atMs;
  }
}
