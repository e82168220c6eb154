import type { Checked } from './check-stored.ts';
import { type Finding, type Limit, NONE } from './row.ts';

/** Sums of what checks found, over all trials of a row. */
export class Totals {
  readonly #sums = { acknowledged: 0, lost: 0, twice: 0, invented: 0, billedWrong: 0 };
  readonly wrong: string[] = [];

  add(checked: Checked): void {
    this.#sums.acknowledged += checked.acknowledged;
    this.#sums.lost += checked.lost;
    this.#sums.twice += checked.twice;
    this.#sums.invented += checked.invented;
    this.#sums.billedWrong += checked.billedWrong;
    this.wrong.push(...checked.wrong);
  }

  /** @param more figures of the row's own */
  finding(more: Readonly<Record<string, number>> = {}, limits: Readonly<Record<string, Limit>> = {}): Finding {
    const none = { lost: NONE, twice: NONE, invented: NONE, billedWrong: NONE };
    return {
      observed: { ...this.#sums, ...more },
      // A row in which nothing was acknowledged has tried nothing.
      limit: { acknowledged: { atLeast: 1 }, ...none, ...limits },
      wrong: this.wrong,
    };
  }
}
