import { readFileSync } from 'node:fs';
import type { RowHead } from './row-scan.ts';
import { type TextPlace, viewOf, WORD_BYTES } from './window-block.ts';

/** Addresses, as in `kernel/windows.ts`. */
const HEAD = 1024;
/** Behind three doubles; the places of texts follow it. */
const HEAD_HASH = HEAD + 24;
const PARSED = 1280;
const PARSED_WORDS = 15;
const PARSED_VALUES = PARSED + 2 * WORD_BYTES;
const PARSED_TEXTS = PARSED + PARSED_WORDS * WORD_BYTES;
const PARSED_TEXT_BYTES = 4 + 128;
const PARSED_TEXT_BYTES_MAX = PARSED_TEXT_BYTES - 4;
const HASHED_BYTES_MAX = 512;
const PLACES = 3072;
const COLUMNS = 4096;

const WASM = new URL('../../gen/kernel/windows.wasm', import.meta.url);

/** A text in the kernel's memory, with its length before it. */
class KernelText implements TextPlace {
  bytes: Buffer = Buffer.alloc(0);
  view = viewOf(this.bytes);
  start = 0;
  end = 0;
}

/**
 * The WebAssembly that reads windows and writes their columns, with its memory as TypeScript sees it. There is one for the
 * process, and it holds one call's windows at a time: whoever begins a call has to be done before anything is awaited.
 */
export class WindowKernel implements RowHead {
  /** Of the window added last. */
  readonly customer = new KernelText();
  readonly vm = new KernelText();
  readonly region = new KernelText();
  /** The hour in which it starts, in hours since 1970, and where in it, and how long it lasts. */
  hour = 0;
  offsetNanos = 0;
  lengthNanos = 0;
  hashLow = 0;
  hashHigh = 0;

  /** Which call's windows it holds. */
  turn = 0;

  readonly #exports = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(WASM))).exports;
  #bytes = Buffer.alloc(0);
  #view = viewOf(this.#bytes);
  #numbers = new Float64Array(0);
  #halves = new Uint32Array(0);
  #messageAt = 0;

  constructor() {
    this.#look();
  }

  /**
   * Starts a call and forgets the one before.
   * @param windows the most that will be added
   * @param message what `addWire` reads from, with the seconds that a window's end has to lie between
   * @returns the `turn` for as long as it holds the call's windows
   */
  begin(windows: number, message?: WireMessage): number {
    const { bytes, scope } = message ?? NO_MESSAGE;
    this.#messageAt = this.#exports.begin(windows, bytes.length, scope.afterSeconds, scope.beforeSeconds);
    if (this.#bytes.buffer !== this.#exports.memory.buffer) this.#look();
    this.#bytes.set(bytes, this.#messageAt);
    return ++this.turn;
  }

  /** Adds the window that lies in the message so. @returns false where the ordinary way has to look: then nothing was added */
  addWire(start: number, end: number): boolean {
    if (this.#exports.addWire(this.#messageAt + start, this.#messageAt + end) === 0) return false;
    this.#readHead();
    return true;
  }

  /** @param words start, end, twelve values, time of the sample @param texts customer, VM, region, boot: at most 128 bytes each */
  addParsed(words: BigUint64Array, texts: readonly string[]): void {
    words.forEach((word, i) => this.#view.setBigUint64(PARSED + i * WORD_BYTES, word, true));
    texts.forEach((text, i) => {
      const at = PARSED_TEXTS + i * PARSED_TEXT_BYTES;
      const bytes = Buffer.byteLength(text);
      if (bytes > PARSED_TEXT_BYTES_MAX) throw new RangeError(`an id of ${bytes} bytes`);
      this.#view.setUint32(at, bytes, true);
      this.#bytes.write(text, at + 4);
    });
    this.#exports.addParsed();
    this.#readHead();
  }

  /** Takes back the window added last, once. */
  dropLast(): void {
    this.#exports.dropLast();
  }

  /** The hash of up to twelve values of 64 bits and a text of up to 512 bytes. */
  hashOf(values: readonly bigint[], text: string): bigint {
    const bytes = Buffer.byteLength(text);
    if (bytes > HASHED_BYTES_MAX) throw new RangeError(`${bytes} bytes are more than can be hashed`);
    this.#bytes.fill(0, PARSED_VALUES, PARSED_TEXTS);
    values.forEach((value, i) => this.#view.setBigUint64(PARSED_VALUES + i * WORD_BYTES, value, true));
    this.#bytes.write(text, PARSED_TEXTS);
    this.#exports.hashParsed(bytes);
    return this.#view.getBigUint64(HEAD_HASH, true);
  }

  /** What was added, by column: words, then each of the four texts. It is lent until the next `begin`. */
  close(windows: number, wordColumns: number): Buffer[] {
    this.#exports.close();
    const texts = [0, 1, 2, 3].map((text) => {
      const at = PLACES + 8 * text;
      return this.#bytes.subarray(this.#view.getUint32(at, true), this.#view.getUint32(at + 4, true));
    });
    return [this.#bytes.subarray(COLUMNS, COLUMNS + wordColumns * windows * WORD_BYTES), ...texts];
  }

  /** Memory that has grown is another buffer. */
  #look(): void {
    const { buffer } = this.#exports.memory;
    this.#bytes = Buffer.from(buffer);
    this.#view = new DataView(buffer);
    this.#numbers = new Float64Array(buffer, HEAD, 3);
    this.#halves = new Uint32Array(buffer, HEAD_HASH, 8);
    for (const text of [this.customer, this.vm, this.region]) {
      text.bytes = this.#bytes;
      text.view = this.#view;
    }
  }

  #readHead(): void {
    const [numbers, halves] = [this.#numbers, this.#halves];
    this.hour = numbers[0] ?? 0;
    this.offsetNanos = numbers[1] ?? 0;
    this.lengthNanos = numbers[2] ?? 0;
    this.hashLow = halves[0] ?? 0;
    this.hashHigh = halves[1] ?? 0;
    this.customer.start = halves[2] ?? 0;
    this.customer.end = halves[3] ?? 0;
    this.vm.start = halves[4] ?? 0;
    this.vm.end = halves[5] ?? 0;
    this.region.start = halves[6] ?? 0;
    this.region.end = halves[7] ?? 0;
  }
}

/** A call's message, and between which seconds a window of it has to end to be beyond doubt. */
export interface WireMessage {
  readonly bytes: Uint8Array;
  readonly scope: { readonly afterSeconds: number; readonly beforeSeconds: number };
}

const NO_MESSAGE: WireMessage = { bytes: Buffer.alloc(0), scope: { afterSeconds: 0, beforeSeconds: 0 } };

export const windowKernel = new WindowKernel();
