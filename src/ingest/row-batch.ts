import { endianness } from 'node:os';
import type { RowHead } from './row-scan.ts';
import { hashOut, hashValues, VALUE_WORDS } from './value-hash.ts';
import { PRECEDENCE_MAX, type Provenance, type Window } from './window.ts';
import { TEXT_COLUMNS, type TextPlace, viewOf, WORD_BYTES, WORD_COLUMNS, type WindowBlock } from './window-block.ts';
import type { WireWindow } from './wire-window.ts';

const HOUR_SECONDS = 3600;
const HOUR_NANOS = 3_600_000_000_000n;
/** What most texts fit in with their length; more is made when it is needed. */
const TEXT_BYTES_USUAL = 40;
/** Memory of batches that have ended, for the next ones: fresh memory for each batch would cost more than its rows. */
const spare: BatchMemory[] = [];
const SPARE_MAX = 16;
const SPARE_BYTES_MAX = 1024 * 1024;
/** The longest text that takes one byte to say how long it is. */
const SHORT_BYTES_MAX = 127;
const TWO_TO_32 = 4_294_967_296;
/** Words are written two halves at a time, the low one first, as ClickHouse reads them. */
const HALVES = 2;
const FIRST_VALUE = WORD_COLUMNS.indexOf('cpu_time_nanos');
const SAMPLED_AT = WORD_COLUMNS.indexOf('sampled_at');

if (endianness() !== 'LE')
  throw new Error('meterd writes numbers as this processor does, which has to be little-endian');

/** One column of texts as it is written: `start` and `end` are those of the last. */
class TextColumn implements TextPlace {
  bytes = Buffer.allocUnsafeSlow(1024);
  start = 0;
  end = 0;
  view = viewOf(this.bytes);

  /** Plain ASCII of at most 127 bytes. @returns false where it is anything else: then nothing was written */
  addShort(source: DataView, start: number, end: number): boolean {
    const length = end - start;
    if (length > SHORT_BYTES_MAX) return false;
    this.#reserve(length + 1);
    const target = this.view;
    const shift = this.end + 1 - start;
    let i = start;
    for (; i + 4 <= end; i += 4) {
      const four = source.getUint32(i, true);
      if (!isPlain(four)) return false;
      target.setUint32(shift + i, four, true);
    }
    for (; i < end; i++) {
      const byte = source.getUint8(i);
      if (!isPlain(byte | 0x2020_2000)) return false;
      target.setUint8(shift + i, byte);
    }
    target.setUint8(this.end, length);
    this.start = this.end;
    this.end = shift + end;
    return true;
  }

  add(text: string): void {
    const bytes = Buffer.byteLength(text);
    this.#reserve(bytes + 5);
    this.start = this.end;
    this.end = writeText(this.bytes, text, this.start);
  }

  /** Room for so many texts of usual length. */
  begin(texts: number): void {
    this.start = this.end = 0;
    this.#reserve(texts * TEXT_BYTES_USUAL);
  }

  #reserve(bytes: number): void {
    if (this.end + bytes <= this.bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * this.bytes.length + bytes);
    this.bytes.copy(larger, 0, 0, this.end);
    this.bytes = larger;
    this.view = viewOf(larger);
  }
}

/** Whether four bytes at once are plain ASCII: each from 0x20 to 0x7e. */
function isPlain(four: number): boolean {
  const isLow = (four - 0x2020_2020) & ~four;
  return ((four | isLow | (four + 0x0101_0101)) & 0x8080_8080) === 0;
}

class BatchMemory {
  words = new Uint32Array(0);
  readonly texts = TEXT_COLUMNS.map(() => new TextColumn());
}

/**
 * A batch's windows as they are written, column by column, in two ways that give the same bytes: from the wire, and from a
 * parsed `Window`. Of the window written last it tells what deduplication needs to know.
 */
export class RowBatch implements RowHead {
  readonly customer: TextColumn;
  readonly vm: TextColumn;
  /** The hour in which the last window starts, in hours since 1970, and where in it, and how long it lasts. */
  hour = 0;
  offsetNanos = 0;
  lengthNanos = 0;
  hashLow = 0;
  hashHigh = 0;
  /** Windows kept. */
  count = 0;

  readonly #memory: BatchMemory;
  readonly #region: TextColumn;
  readonly #boot: TextColumn;
  readonly #call: Buffer;
  readonly #values = new Uint32Array(VALUE_WORDS);
  #words: Uint32Array;
  /** Windows that there is room for: what lies between a window's values of two columns. */
  #capacity: number;

  constructor(windows: number, provenance: Provenance) {
    this.#call = callColumns(provenance);
    this.#memory = spare.pop() ?? new BatchMemory();
    for (const text of this.#memory.texts) text.begin(windows);
    const [customer, vm, region, boot] = this.#memory.texts;
    if (!customer || !vm || !region || !boot) throw new Error('there are four columns of texts');
    this.customer = customer;
    this.vm = vm;
    this.#region = region;
    this.#boot = boot;
    this.#capacity = Math.max(1, windows);
    const halves = HALVES * WORD_COLUMNS.length * this.#capacity;
    if (this.#memory.words.length < halves) this.#memory.words = new Uint32Array(halves);
    this.#words = this.#memory.words;
  }

  /** All windows that were kept. It is lent: more windows, and `release`, change it. */
  block(): WindowBlock {
    this.#moveTogether();
    const words = Buffer.from(this.#words.buffer, 0, WORD_BYTES * WORD_COLUMNS.length * this.count);
    const taken = ({ bytes, end }: TextColumn): Buffer => bytes.subarray(0, end);
    const texts = [taken(this.customer), taken(this.vm), taken(this.#region), taken(this.#boot)] as const;
    return { count: this.count, words, texts, call: this.#call };
  }

  /** Gives the memory back. Nothing of the batch may be used afterwards. */
  release(): void {
    if (spare.length < SPARE_MAX && this.#words.byteLength <= SPARE_BYTES_MAX) spare.push(this.#memory);
    this.#words = new Uint32Array(0);
    this.#capacity = this.count = 0;
  }

  /** Takes the last window back. It must be the one just written. */
  dropLast(): void {
    for (const text of this.#memory.texts) text.end = text.start;
    this.count--;
  }

  /** @returns false where an id is empty, long or more than plain ASCII: then nothing was written */
  addWire(wire: WireWindow): boolean {
    if (!this.#addTexts(wire)) return false;
    this.hour = Math.floor(wire.startSeconds / HOUR_SECONDS);
    this.offsetNanos = (wire.startSeconds - this.hour * HOUR_SECONDS) * 1e9 + wire.startNanos;
    this.lengthNanos = (wire.endSeconds - wire.startSeconds) * 1e9 + (wire.endNanos - wire.startNanos);
    const at = this.#addRow();
    const column = HALVES * this.#capacity;
    this.#setTime(at, wire.startSeconds, wire.startNanos);
    this.#setTime(at + column, wire.endSeconds, wire.endNanos);
    this.#setValues(at, wire.words);
    this.#setTime(at + SAMPLED_AT * column, wire.sampledSeconds, wire.sampledNanos);
    return true;
  }

  addWindow(window: Window): void {
    this.customer.add(window.customerId);
    this.vm.add(window.vmId);
    this.#region.add(window.region);
    this.#boot.add(window.bootId);
    this.hour = Number(window.startNanos / HOUR_NANOS);
    this.offsetNanos = Number(window.startNanos % HOUR_NANOS);
    this.lengthNanos = Number(window.endNanos - window.startNanos);
    const at = this.#addRow();
    const column = HALVES * this.#capacity;
    setWord(this.#words, at, window.startNanos);
    setWord(this.#words, at + column, window.endNanos);
    this.#setValues(at, valuesOf(window, this.#values));
    setWord(this.#words, at + SAMPLED_AT * column, window.sampledAtNanos);
  }

  /** All four texts, or none: what was written of them is taken back where one is not short and plain. */
  #addTexts(wire: WireWindow): boolean {
    const { view } = wire;
    if (wire.customerEnd === wire.customerStart || wire.vmEnd === wire.vmStart) return false;
    if (wire.regionEnd === wire.regionStart) return false;
    const { customer, vm } = this;
    const region = this.#region;
    if (!customer.addShort(view, wire.customerStart, wire.customerEnd)) return false;
    if (vm.addShort(view, wire.vmStart, wire.vmEnd)) {
      if (region.addShort(view, wire.regionStart, wire.regionEnd)) {
        if (this.#boot.addShort(view, wire.bootStart, wire.bootEnd)) return true;
        region.end = region.start;
      }
      vm.end = vm.start;
    }
    customer.end = customer.start;
    return false;
  }

  /** @returns where the new window's first word is, in halves */
  #addRow(): number {
    if (this.count === this.#capacity) this.#grow();
    return HALVES * this.count++;
  }

  #grow(): void {
    const before = this.#words;
    const capacity = Math.max(1, 2 * this.#capacity);
    const larger = new Uint32Array(HALVES * WORD_COLUMNS.length * capacity);
    for (let column = 0; column < WORD_COLUMNS.length; column++) {
      const from = HALVES * column * this.#capacity;
      larger.set(before.subarray(from, from + HALVES * this.count), HALVES * column * capacity);
    }
    this.#memory.words = this.#words = larger;
    this.#capacity = capacity;
  }

  /** Closes the gaps between columns that windows left which were taken back. */
  #moveTogether(): void {
    if (this.count === this.#capacity) return;
    for (let column = 1; column < WORD_COLUMNS.length; column++) {
      const from = HALVES * column * this.#capacity;
      this.#words.copyWithin(HALVES * column * this.count, from, from + HALVES * this.count);
    }
    this.#capacity = this.count;
  }

  /** Seconds × 10^9 + nanoseconds as 64 bits: no step passes 2^53. */
  #setTime(at: number, seconds: number, nanos: number): void {
    const upper = Math.floor(seconds / 65_536) * 1e9;
    const lower = (seconds % 65_536) * 1e9 + nanos;
    const low = (upper % 65_536) * 65_536 + lower;
    this.#words[at] = low % TWO_TO_32;
    this.#words[at + 1] = Math.floor(upper / 65_536) + Math.floor(low / TWO_TO_32);
  }

  /** Hashes the last region with the values, and writes hash and values. */
  #setValues(row: number, values: Uint32Array): void {
    const { bytes, start, end } = this.#region;
    hashValues(values, bytes, start, end);
    this.hashLow = hashOut.low;
    this.hashHigh = hashOut.high;
    const words = this.#words;
    const column = HALVES * this.#capacity;
    let at = row + (FIRST_VALUE - 1) * column;
    words[at] = this.hashLow;
    words[at + 1] = this.hashHigh;
    for (let i = 0; i < VALUE_WORDS; i += HALVES) {
      at += column;
      words[at] = values[i] ?? 0;
      words[at + 1] = values[i + 1] ?? 0;
    }
  }
}

/** `CALL_COLUMNS` of a call. */
function callColumns(provenance: Provenance): Buffer {
  const { instanceId, sequence, credentialId, receivedAtNanos } = provenance;
  const bytes = Buffer.alloc(Buffer.byteLength(instanceId) + Buffer.byteLength(credentialId) + 26);
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

function setWord(words: Uint32Array, at: number, value: bigint): void {
  words[at] = Number(value & 0xffff_ffffn);
  words[at + 1] = Number(value >> 32n);
}

const scratch = new DataView(new ArrayBuffer(8));

function valuesOf(window: Window, words: Uint32Array): Uint32Array {
  const values = [
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
  values.forEach((value, i) => setWord(words, HALVES * i, value));
  return words;
}

function bitsOf(value: number): bigint {
  scratch.setFloat64(0, value);
  return scratch.getBigUint64(0);
}
