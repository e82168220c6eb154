const WIDTH = 40;

/** A bar on standard error: redrawn on a terminal, one line at each tenth elsewhere. */
export class Progress {
  readonly #what: string;
  readonly #total: number;
  #tenths = 0;

  constructor(what: string, total: number) {
    this.#what = what;
    this.#total = total;
  }

  show(done: number): void {
    const tenths = Math.floor((done / this.#total) * 10);
    if (!process.stderr.isTTY && tenths === this.#tenths) return;
    this.#tenths = tenths;
    const filled = Math.floor((done / this.#total) * WIDTH);
    const bar = '█'.repeat(filled) + '░'.repeat(WIDTH - filled);
    const count = `${done.toLocaleString('en')} of ${this.#total.toLocaleString('en')}`;
    const end = process.stderr.isTTY && done < this.#total ? '\r' : '\n';
    process.stderr.write(`${this.#what} ${bar} ${count}${end}`);
  }
}
