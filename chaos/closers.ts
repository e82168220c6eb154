import { messageOf } from '../src/lib/failure.ts';

/** What has to be stopped or removed in the end, the latest first. */
export class Closers {
  readonly #closers: (() => Promise<unknown>)[] = [];

  add(closer: () => Promise<unknown>): void {
    this.#closers.push(closer);
  }

  /** One that fails keeps none of the others from closing, and is told on standard error. Twice does no more. */
  async close(): Promise<void> {
    for (let closer = this.#closers.pop(); closer !== undefined; closer = this.#closers.pop()) {
      try {
        await closer();
      } catch (reason) {
        process.stderr.write(`not cleaned up: ${messageOf(reason)}\n`);
      }
    }
  }
}
