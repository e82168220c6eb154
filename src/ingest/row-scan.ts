import { TextScan, textAt, type TextPlace, WORD_BYTES, WORD_COLUMNS, type WindowBlock } from './window-block.ts';

const HOUR_SECONDS = 3600;

/** What deduplication needs to know of one window, whether it was just written or is read back. */
export interface RowHead {
  readonly customer: TextPlace;
  readonly vm: TextPlace;
  /** The hour in which its window starts, in hours since 1970, and where in it, and how long it lasts. */
  readonly hour: number;
  readonly offsetNanos: number;
  readonly lengthNanos: number;
  readonly hashLow: number;
  readonly hashHigh: number;
}

/** Goes from window to window. */
export interface RowWalk extends RowHead {
  /** Goes to the next window. @returns false where there is none */
  next(): boolean;
}

/** Goes over the windows of a block, looking at no more of each than its head. */
export class RowScan implements RowWalk {
  readonly customer: TextScan;
  readonly vm: TextScan;
  hour = 0;
  offsetNanos = 0;
  lengthNanos = 0;
  hashLow = 0;
  hashHigh = 0;

  readonly #block: WindowBlock;
  #row = -1;
  #seconds = 0;
  #nanos = 0;

  constructor(block: WindowBlock) {
    this.#block = block;
    this.customer = new TextScan(block.texts[0]);
    this.vm = new TextScan(block.texts[1]);
  }

  next(): boolean {
    const { count, words } = this.#block;
    if (++this.#row >= count) return false;
    this.customer.next();
    this.vm.next();
    const at = WORD_BYTES * this.#row;
    const column = WORD_BYTES * count;
    this.#readTime(at);
    const [startSeconds, startNanos] = [this.#seconds, this.#nanos];
    this.hour = Math.floor(startSeconds / HOUR_SECONDS);
    this.offsetNanos = (startSeconds - this.hour * HOUR_SECONDS) * 1e9 + startNanos;
    this.#readTime(at + column);
    this.lengthNanos = (this.#seconds - startSeconds) * 1e9 + (this.#nanos - startNanos);
    this.hashLow = words.readUInt32LE(at + 2 * column);
    this.hashHigh = words.readUInt32LE(at + 2 * column + 4);
    return true;
  }

  /** 64-bit nanoseconds divided by 10^9 in steps that stay below 2^53. */
  #readTime(at: number): void {
    const low = this.#block.words.readUInt32LE(at);
    const high = this.#block.words.readUInt32LE(at + 4);
    const first = Math.floor(high / 1e9);
    const middle = (high - first * 1e9) * 65_536 + (low >>> 16);
    const second = Math.floor(middle / 1e9);
    const last = (middle - second * 1e9) * 65_536 + (low & 0xffff);
    const third = Math.floor(last / 1e9);
    this.#seconds = first * 4_294_967_296 + second * 65_536 + third;
    this.#nanos = last - third * 1e9;
  }
}

/** A window read back, as far as the live stream needs it. Times are Unix nanoseconds. */
export interface Row {
  readonly customerId: string;
  readonly vmId: string;
  readonly region: string;
  readonly startNanos: bigint;
  readonly endNanos: bigint;
  readonly cpuTimeNanos: bigint;
  readonly memoryByteSeconds: bigint;
  readonly diskReadBytes: bigint;
  readonly diskWriteBytes: bigint;
  readonly diskReadOps: bigint;
  readonly diskWriteOps: bigint;
  readonly networkRxBytes: bigint;
  readonly networkTxBytes: bigint;
}

/** Reads a block's windows back, but for those at the places in `left`. */
export function* readRows({ count, words, texts }: WindowBlock, left?: ReadonlySet<number>): Generator<Row> {
  const [customer, vm, region] = [new TextScan(texts[0]), new TextScan(texts[1]), new TextScan(texts[2])];
  for (let row = 0; row < count; row++) {
    for (const text of [customer, vm, region]) text.next();
    if (left?.has(row) === true) continue;
    const value = (column: (typeof WORD_COLUMNS)[number]): bigint => {
      return words.readBigUInt64LE(WORD_BYTES * (WORD_COLUMNS.indexOf(column) * count + row));
    };
    yield {
      customerId: textAt(customer),
      vmId: textAt(vm),
      region: textAt(region),
      startNanos: value('window_start'),
      endNanos: value('window_end'),
      cpuTimeNanos: value('cpu_time_nanos'),
      memoryByteSeconds: value('memory_byte_seconds'),
      diskReadBytes: value('disk_read_bytes'),
      diskWriteBytes: value('disk_write_bytes'),
      diskReadOps: value('disk_read_ops'),
      diskWriteOps: value('disk_write_ops'),
      networkRxBytes: value('network_rx_bytes'),
      networkTxBytes: value('network_tx_bytes'),
    };
  }
}
