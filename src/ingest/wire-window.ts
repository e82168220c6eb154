import { VALUE_WORDS } from './value-hash.ts';

/**
 * One window read straight from its protobuf bytes, without an object for it. `read` understands what hosts normally
 * send and answers false to everything else: whatever is odd, wrong or new goes to the ordinary decoder and validator,
 * whose verdict and message are the ones that count. So this reader may be narrow, but never wrong.
 *
 * Fields as in `billing/v1/metrics.proto`; the wire format is https://protobuf.dev/programming-guides/encoding/.
 */
export class WireWindow {
  /** Where the bytes are that the offsets below point into. */
  bytes: Uint8Array = new Uint8Array();
  view = new DataView(this.bytes.buffer);
  vmStart = 0;
  vmEnd = 0;
  customerStart = 0;
  customerEnd = 0;
  regionStart = 0;
  regionEnd = 0;
  bootStart = 0;
  bootEnd = 0;
  startSeconds = 0;
  startNanos = 0;
  endSeconds = 0;
  endNanos = 0;
  sampledSeconds = 0;
  sampledNanos = 0;
  /** The fields 7 to 18, as words. */
  readonly words = new Uint32Array(VALUE_WORDS);

  #at = 0;
  #low = 0;
  #high = 0;
  #seconds = 0;
  #nanos = 0;
  /** One bit a field, for those that must come once. */
  #seen = 0;

  /**
   * Reads the window that lies in `bytes` from `start` to `end`.
   * @returns false where the ordinary way has to look
   */
  read(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.bytes !== bytes) {
      this.bytes = bytes;
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    this.#at = start;
    this.#seen = 0;
    this.vmStart = this.vmEnd = this.customerStart = this.customerEnd = 0;
    this.regionStart = this.regionEnd = this.bootStart = this.bootEnd = 0;
    this.words.fill(0);
    while (this.#at < end) {
      let tag = bytes[this.#at++] ?? 0;
      if (tag >= 0x80) {
        const next = bytes[this.#at++] ?? 0x80;
        if (next >= 0x80 || next === 0) return false;
        tag = (tag & 0x7f) | (next << 7);
      }
      if (!this.#readField(tag >>> 3, tag & 7, end)) return false;
    }
    if ((this.#seen & SEEN_START_AND_END) !== SEEN_START_AND_END) return false;
    if ((this.#seen & SEEN_SAMPLED) === 0) {
      this.sampledSeconds = this.endSeconds;
      this.sampledNanos = this.endNanos;
    }
    return true;
  }

  #readField(field: number, wireType: number, end: number): boolean {
    switch (wireType) {
      case 0:
        if (!this.#readVarint(end)) return false;
        if (field >= 7 && field <= 18) {
          if (field === 8 || field === 9) return false;
          const at = (field - 7) * 2;
          this.words[at] = this.#low;
          this.words[at + 1] = this.#high;
          return true;
        }
        return isUnknown(field);
      case 1:
        if (this.#at + 8 > end) return false;
        if (field === 8 || field === 9) this.#readDouble((field - 7) * 2);
        else if (!isUnknown(field)) return false;
        this.#at += 8;
        return true;
      case 2:
        return this.#readBytes(field, end);
      case 5:
        this.#at += 4;
        return this.#at <= end && isUnknown(field);
      default:
        return false;
    }
  }

  #readBytes(field: number, end: number): boolean {
    if (!this.#readVarint(end) || this.#high !== 0) return false;
    const start = this.#at;
    const until = start + this.#low;
    if (until > end) return false;
    this.#at = until;
    if (isUnknown(field)) return true;
    // A second time would have to be merged with the first, and a text that the second replaces may be no text at all.
    const bit = 1 << field;
    if ((this.#seen & bit) !== 0) return false;
    this.#seen |= bit;
    switch (field) {
      case 1:
        this.vmStart = start;
        this.vmEnd = until;
        return true;
      case 2:
        this.customerStart = start;
        this.customerEnd = until;
        return true;
      case 3:
        this.regionStart = start;
        this.regionEnd = until;
        return true;
      case 4:
      case 5:
      case 6:
        return this.#readTime(field, start, until);
      case 20:
        this.bootStart = start;
        this.bootEnd = until;
        return true;
      default:
        return false;
    }
  }

  #readTime(field: number, start: number, until: number): boolean {
    this.#at = start;
    this.#seconds = 0;
    this.#nanos = 0;
    while (this.#at < until) {
      const tag = this.bytes[this.#at++];
      if (!this.#readVarint(until)) return false;
      if (tag === 0x08 && this.#high < 8) this.#seconds = this.#high * 4_294_967_296 + this.#low;
      else if (tag === 0x10 && this.#high === 0 && this.#low < 1_000_000_000) this.#nanos = this.#low;
      else return false;
    }
    if (field === 4) {
      this.sampledSeconds = this.#seconds;
      this.sampledNanos = this.#nanos;
    } else if (field === 5) {
      this.startSeconds = this.#seconds;
      this.startNanos = this.#nanos;
    } else {
      this.endSeconds = this.#seconds;
      this.endNanos = this.#nanos;
    }
    return this.#at === until;
  }

  #readDouble(word: number): void {
    const { bytes } = this;
    let at = this.#at;
    for (let i = word; i < word + 2; i++) {
      const low = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
      this.words[i] = low | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24);
      at += 4;
    }
  }

  /** Into `#low` and `#high`. @returns false where it is cut off or longer than 64 bits */
  #readVarint(end: number): boolean {
    const { bytes } = this;
    let at = this.#at;
    let byte = at < end ? (bytes[at++] ?? 0) : 0x80;
    let low = byte & 0x7f;
    let high = 0;
    let shift = 7;
    while (byte >= 0x80) {
      if (at >= end || shift > 63) return false;
      byte = bytes[at++] ?? 0;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else if (shift < 63) high |= bits << (shift - 32);
      else {
        // The tenth byte holds the one bit that is left.
        if (bits > 1) return false;
        high |= bits << 31;
      }
      shift += 7;
    }
    this.#at = at;
    this.#low = low >>> 0;
    this.#high = high >>> 0;
    return true;
  }
}

const SEEN_SAMPLED = 1 << 4;
const SEEN_START_AND_END = (1 << 5) | (1 << 6);

/** A field of a later version, which is passed over. A known one of another wire type is not: that is odd. */
function isUnknown(field: number): boolean {
  return field > 18 && field !== 20;
}
