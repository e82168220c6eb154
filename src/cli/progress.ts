const WIDTH = 40;

/** A bar on standard error: redrawn on a terminal, one line at each tenth elsewhere. */
export class Progress {
  readonly #what: string;
  #tenths = 0;

  constructor(what: string) {
    this.#what = what;
  }

  /** `total` may grow from one call to the next. */
  show(done: number, total: number): void {
    if (total === 0) return;
    const tenths = Math.floor((done / total) * 10);
    if (!process.stderr.isTTY && tenths === this.#tenths) return;
    this.#tenths = tenths;
    const filled = Math.floor((done / total) * WIDTH);
    const bar = '█'.repeat(filled) + '░'.repeat(WIDTH - filled);
    const count = `${done.toLocaleString('en')} of ${total.toLocaleString('en')}`;
    const end = process.stderr.isTTY && done < total ? '\r' : '\n';
    process.stderr.write(`${this.#what} ${bar} ${count}${end}`);
  }
}
