import { PRECEDENCE_MAX } from './row-binary.ts';
import type { RowHead } from './row-scan.ts';
import { hashOut, hashValues, VALUE_WORDS } from './value-hash.ts';
import type { Provenance, Window } from './window.ts';
import type { WireWindow } from './wire-window.ts';

const HOUR_SECONDS = 3600;
const HOUR_NANOS = 3_600_000_000_000n;
/** What most rows fit in; more is made when it is needed. */
const ROW_BYTES_USUAL = 256;
/** Buffers of batches that have ended, for the next ones: fresh memory for each batch would cost more than its rows. */
const spare: Buffer[] = [];
const SPARE_MAX = 16;
const SPARE_BYTES_MAX = 1024 * 1024;
/** The longest id that takes one byte to say how long it is. */
const SHORT_BYTES_MAX = 127;
const TWO_TO_32 = 4_294_967_296;
const EMPTY = Buffer.alloc(0);

/**
 * A batch's rows as they are written, one after another in one buffer, in two ways that give the same bytes: from the
 * wire, and from a parsed `Window`. Of the row written last it tells what deduplication needs to know.
 */
export class RowBatch implements RowHead {
  /** Of the last row: its first byte, where its customer ends, where its VM ends. */
  rowStart = 0;
  customerEnd = 0;
  keyEnd = 0;
  /** The hour in which its window starts, in hours since 1970, and where in it, and how long it lasts. */
  hour = 0;
  offsetNanos = 0;
  lengthNanos = 0;
  hashLow = 0;
  hashHigh = 0;
  /** Rows kept. */
  count = 0;

  readonly #suffix: Buffer;
  readonly #words = new Uint32Array(VALUE_WORDS);
  #bytes: Buffer;
  #view: DataView;
  #end = 0;

  constructor(windows: number, provenance: Provenance) {
    this.#suffix = suffixOf(provenance);
    const bytesUsual = Math.max(1, windows) * ROW_BYTES_USUAL;
    const last = spare.at(-1);
    this.#bytes = last !== undefined && last.length >= bytesUsual ? last : Buffer.allocUnsafeSlow(bytesUsual);
    if (this.#bytes === last) spare.pop();
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
  }

  /** The buffer that the last row's offsets point into. */
  get bytes(): Buffer {
    return this.#bytes;
  }

  /** All rows that were kept. */
  rows(): Buffer {
    return this.#bytes.subarray(0, this.#end);
  }

  /** Gives the buffer back. Nothing of the batch may be used afterwards. */
  release(): void {
    if (spare.length < SPARE_MAX && this.#bytes.length <= SPARE_BYTES_MAX) spare.push(this.#bytes);
    this.#bytes = EMPTY;
    this.#end = 0;
  }

  /** Takes the last row back. */
  dropLast(): void {
    this.#end = this.rowStart;
    this.count--;
  }

  /** The last row's customer. */
  customerId(): string {
    // One byte of length before it; two where it is longer than 127.
    const from = this.rowStart + ((this.#bytes[this.rowStart] ?? 0) < 0x80 ? 1 : 2);
    return this.#bytes.toString('utf8', from, this.customerEnd);
  }

  /** @returns false where an id is empty, long or more than plain ASCII: then nothing was written */
  addWire(wire: WireWindow): boolean {
    this.#reserve(4 * (SHORT_BYTES_MAX + 1) + (VALUE_WORDS + 8) * 4 + this.#suffix.length);
    const { bytes } = wire;
    this.rowStart = this.#end;
    let at = this.#addText(this.#end, bytes, wire.customerStart, wire.customerEnd);
    if (at < 0 || wire.customerEnd === wire.customerStart) return false;
    this.customerEnd = at;
    at = this.#addText(at, bytes, wire.vmStart, wire.vmEnd);
    if (at < 0 || wire.vmEnd === wire.vmStart) return false;
    this.keyEnd = at;
    this.hour = Math.floor(wire.startSeconds / HOUR_SECONDS);
    this.offsetNanos = (wire.startSeconds - this.hour * HOUR_SECONDS) * 1e9 + wire.startNanos;
    this.lengthNanos = (wire.endSeconds - wire.startSeconds) * 1e9 + (wire.endNanos - wire.startNanos);
    this.#addTime(at, wire.startSeconds, wire.startNanos);
    this.#addTime(at + 8, wire.endSeconds, wire.endNanos);
    const hashAt = at + 16;
    at = this.#addText(hashAt + 8, bytes, wire.regionStart, wire.regionEnd);
    if (at < 0 || wire.regionEnd === wire.regionStart) return false;
    at = this.#addValues(hashAt, at, wire.words);
    this.#addTime(at, wire.sampledSeconds, wire.sampledNanos);
    at = this.#addText(at + 8, bytes, wire.bootStart, wire.bootEnd);
    if (at < 0) return false;
    this.#addSuffix(at);
    return true;
  }

  addWindow(window: Window): void {
    const texts = [window.customerId, window.vmId, window.region, window.bootId];
    const textBytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text) + 2, 0);
    this.#reserve(textBytes + (VALUE_WORDS + 8) * 4 + this.#suffix.length);
    this.rowStart = this.#end;
    this.customerEnd = writeText(this.#bytes, window.customerId, this.#end);
    this.keyEnd = writeText(this.#bytes, window.vmId, this.customerEnd);
    this.hour = Number(window.startNanos / HOUR_NANOS);
    this.offsetNanos = Number(window.startNanos % HOUR_NANOS);
    this.lengthNanos = Number(window.endNanos - window.startNanos);
    let at = this.#bytes.writeBigInt64LE(window.startNanos, this.keyEnd);
    const hashAt = this.#bytes.writeBigInt64LE(window.endNanos, at);
    at = writeText(this.#bytes, window.region, hashAt + 8);
    at = this.#addValues(hashAt, at, wordsOf(window, this.#words));
    at = this.#bytes.writeBigInt64LE(window.sampledAtNanos, at);
    this.#addSuffix(writeText(this.#bytes, window.bootId, at));
  }

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * this.#bytes.length + bytes);
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer, larger.byteOffset, larger.byteLength);
  }

  /** @returns where it ends, -1 where it is not short and plain */
  #addText(at: number, source: Uint8Array, start: number, end: number): number {
    const target = this.#bytes;
    const length = end - start;
    if (length > SHORT_BYTES_MAX) return -1;
    target[at] = length;
    const from = at + 1 - start;
    for (let i = start; i < end; i++) {
      const byte = source[i] ?? 0;
      if (byte < 0x20 || byte > 0x7e) return -1;
      target[from + i] = byte;
    }
    return from + end;
  }

  /** Seconds × 10^9 + nanoseconds as 64 bits: no step passes 2^53. */
  #addTime(at: number, seconds: number, nanos: number): void {
    const upper = Math.floor(seconds / 65_536) * 1e9;
    const lower = (seconds % 65_536) * 1e9 + nanos;
    const low = (upper % 65_536) * 65_536 + lower;
    this.#view.setUint32(at, low % TWO_TO_32, true);
    this.#view.setUint32(at + 4, Math.floor(upper / 65_536) + Math.floor(low / TWO_TO_32), true);
  }

  /** Hashes the region, which lies between the hash and `at`, with the values, and writes hash and values. */
  #addValues(hashAt: number, at: number, words: Uint32Array): number {
    hashValues(words, this.#bytes, hashAt + 8, at);
    this.hashLow = hashOut.low;
    this.hashHigh = hashOut.high;
    const view = this.#view;
    view.setUint32(hashAt, this.hashLow, true);
    view.setUint32(hashAt + 4, this.hashHigh, true);
    for (let i = 0; i < VALUE_WORDS; i++) view.setUint32(at + 4 * i, words[i] ?? 0, true);
    return at + 4 * VALUE_WORDS;
  }

  #addSuffix(at: number): void {
    this.#bytes.set(this.#suffix, at);
    this.#end = at + this.#suffix.length;
    this.count++;
  }
}

/** The columns behind the boot id: the same for all windows of a call. */
function suffixOf(provenance: Provenance): Buffer {
  const { instanceId, sequence, credentialId, receivedAtNanos } = provenance;
  const bytes = Buffer.alloc(Buffer.byteLength(instanceId) + Buffer.byteLength(credentialId) + 20);
  let at = writeText(bytes, instanceId, 0);
  at = bytes.writeBigUInt64LE(sequence, at);
  at = writeText(bytes, credentialId, at);
  return bytes.subarray(0, bytes.writeBigUInt64LE(PRECEDENCE_MAX - receivedAtNanos, at));
}

/** With its length before it, as LEB128. @returns where it ends */
function writeText(bytes: Buffer, text: string, start: number): number {
  let at = start;
  let length = Buffer.byteLength(text);
  while (length >= 0x80) {
    bytes[at++] = (length & 0x7f) | 0x80;
    length >>>= 7;
  }
  bytes[at++] = length;
  return at + bytes.write(text, at);
}

const scratch = new DataView(new ArrayBuffer(8));

function wordsOf(window: Window, words: Uint32Array): Uint32Array {
  const counters = [
    window.cpuTimeNanos,
    bitsOf(window.cpuUtilizationPct),
    bitsOf(window.cpuCoresUsed),
    window.memoryBytesUsed,
    window.memoryBytesPeak,
    window.memoryByteSeconds,
    window.diskReadBytes,
    window.diskWriteBytes,
    window.diskReadOps,
    window.diskWriteOps,
    window.networkRxBytes,
    window.networkTxBytes,
  ];
  counters.forEach((value, i) => {
    words[2 * i] = Number(value & 0xffff_ffffn);
    words[2 * i + 1] = Number(value >> 32n);
  });
  return words;
}

function bitsOf(value: number): bigint {
  scratch.setFloat64(0, value);
  return scratch.getBigUint64(0);
}
