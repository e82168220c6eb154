const HOUR_SECONDS = 3600;
/** Twelve values and the sampling time. */
const VALUES_BYTES = 13 * 8;

/** What deduplication needs to know of one row, whether it was just written or is read back. */
export interface RowHead {
  /** The buffer that the offsets below point into. */
  readonly bytes: Buffer;
  /** The row's first byte, and where its VM ends: these bytes name customer and VM. */
  readonly rowStart: number;
  readonly keyEnd: number;
  /** The hour in which its window starts, in hours since 1970, and where in it, and how long it lasts. */
  readonly hour: number;
  readonly offsetNanos: number;
  readonly lengthNanos: number;
  readonly hashLow: number;
  readonly hashHigh: number;
  customerId(): string;
}

/** Goes over rows that lie one after another, looking at no more of each than its head. */
export class RowScan implements RowHead {
  readonly bytes: Buffer;
  rowStart = 0;
  keyEnd = 0;
  hour = 0;
  offsetNanos = 0;
  lengthNanos = 0;
  hashLow = 0;
  hashHigh = 0;

  #customerStart = 0;
  #customerEnd = 0;
  #at = 0;
  #seconds = 0;
  #nanos = 0;

  constructor(rows: Buffer) {
    this.bytes = rows;
  }

  /** Goes to the next row. @returns false where there is none */
  next(): boolean {
    if (this.#at >= this.bytes.length) return false;
    this.rowStart = this.#at;
    const customerBytes = this.#length();
    this.#customerStart = this.#at;
    this.#customerEnd = this.#at + customerBytes;
    this.#at = this.#customerEnd;
    this.#skipText();
    this.keyEnd = this.#at;
    this.#readTime();
    const [startSeconds, startNanos] = [this.#seconds, this.#nanos];
    this.hour = Math.floor(startSeconds / HOUR_SECONDS);
    this.offsetNanos = (startSeconds - this.hour * HOUR_SECONDS) * 1e9 + startNanos;
    this.#readTime();
    this.lengthNanos = (this.#seconds - startSeconds) * 1e9 + (this.#nanos - startNanos);
    this.hashLow = this.bytes.readUInt32LE(this.#at);
    this.hashHigh = this.bytes.readUInt32LE(this.#at + 4);
    this.#at += 8;
    this.#skipText();
    this.#at += VALUES_BYTES;
    this.#skipText();
    this.#skipText();
    this.#at += 8;
    this.#skipText();
    this.#at += 8;
    return true;
  }

  customerId(): string {
    return this.bytes.toString('utf8', this.#customerStart, this.#customerEnd);
  }

  /** 64-bit nanoseconds divided by 10^9 in steps that stay below 2^53. */
  #readTime(): void {
    const low = this.bytes.readUInt32LE(this.#at);
    const high = this.bytes.readUInt32LE(this.#at + 4);
    this.#at += 8;
    const first = Math.floor(high / 1e9);
    const middle = (high - first * 1e9) * 65_536 + (low >>> 16);
    const second = Math.floor(middle / 1e9);
    const last = (middle - second * 1e9) * 65_536 + (low & 0xffff);
    const third = Math.floor(last / 1e9);
    this.#seconds = first * 4_294_967_296 + second * 65_536 + third;
    this.#nanos = last - third * 1e9;
  }

  #skipText(): void {
    const length = this.#length();
    this.#at += length;
  }

  #length(): number {
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.bytes.readUInt8(this.#at++);
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) return length;
    }
  }
}
