/** Smaller pieces get memory of their own: several of them may wait to be sent at once. */
const LARGE_BYTES = 1024 * 1024;

/**
 * Memory for what is sent to ClickHouse piece by piece. Fresh memory for each piece, some 70 MB a second at full rate, would be
 * swept up by the garbage collector again and again, heap and all.
 *
 * Large pieces take turns in two buffers. That is enough: a stream is asked for the piece after the next only when the
 * one before has gone to the kernel, since a large piece alone fills every buffer on its way and the stream waits for
 * `drain`. `clickhouse-writer.ch.test.ts` holds it, with a ClickHouse that reads slowly.
 */
export class SendMemory {
  readonly #buffers = [Buffer.alloc(0), Buffer.alloc(0)];
  #turn = 0;

  /** At least so many bytes, with anything in them. */
  readonly take = (bytes: number): Buffer => {
    if (bytes < LARGE_BYTES) return Buffer.allocUnsafeSlow(bytes);
    this.#turn = 1 - this.#turn;
    const buffer = this.#buffers[this.#turn];
    if (buffer !== undefined && buffer.length >= bytes) return buffer;
    const larger = Buffer.allocUnsafeSlow(bytes);
    this.#buffers[this.#turn] = larger;
    return larger;
  };
}
