import type { WindowShape } from './fleet.ts';
import { addReading, type Tally } from './tally.ts';

/** Where in a template's bytes the things lie that each use of it replaces: four numbers a window. */
export interface Places {
  /** Six decimal digits: the host's number within the VM's id. */
  readonly hostAt: number;
  readonly startAt: number;
  readonly endAt: number;
  readonly sampledAt: number;
}

/** One batch with all but host and time filled in. */
export interface Template {
  readonly bytes: Buffer;
  /** By window: as `Places`, in its order. */
  readonly places: Int32Array;
  /** By window: minutes from the batch's first. */
  readonly minutes: Uint8Array;
  /** By window: nanoseconds from the window's end to its reading. */
  readonly sampledAfterNanos: Uint32Array;
  readonly totals: Tally;
  readonly windows: number;
}

export const PLACES = 4;
export const HOST_DIGITS = 6;

/** A growing buffer. */
export class Bytes {
  #buffer = Buffer.allocUnsafe(4096);
  length = 0;

  /** Makes room for `bytes` more and tells where they start. */
  skip(bytes: number): number {
    const at = this.length;
    this.length += bytes;
    if (this.length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(this.length * 2);
      this.#buffer.copy(larger);
      this.#buffer = larger;
    }
    return at;
  }

  byte(value: number): void {
    const at = this.skip(1);
    this.#buffer[at] = value;
  }

  /** A whole number from 0 to 2^53 in base 128, low groups first. */
  varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.byte((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.byte(rest);
  }

  /** Its length in base 128, then its bytes. @returns where the bytes start */
  ascii(text: string): number {
    this.varint(text.length);
    return this.text(text);
  }

  /** Just the bytes of an ASCII text. @returns where they start */
  text(text: string): number {
    const at = this.skip(text.length);
    this.#buffer.write(text, at, 'latin1');
    return at;
  }

  double(value: number): void {
    const at = this.skip(8);
    this.#buffer.writeDoubleLE(value, at);
  }

  uint64(value: number): void {
    const at = this.skip(8);
    this.#buffer.writeUInt32LE(value % 0x1_0000_0000, at);
    this.#buffer.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4);
  }

  append(other: Bytes): number {
    const at = this.skip(other.length);
    other.taken().copy(this.#buffer, at);
    return at;
  }

  taken(): Buffer {
    return this.#buffer.subarray(0, this.length);
  }
}

/** Writes every window with `write` and gathers what a template needs besides. */
export function buildTemplate(
  shapes: readonly WindowShape[],
  write: (bytes: Bytes, shape: WindowShape) => Places,
): Template {
  const bytes = new Bytes();
  const places = new Int32Array(shapes.length * PLACES);
  const totals: Tally = new Map();
  shapes.forEach((shape, index) => {
    const { hostAt, startAt, endAt, sampledAt } = write(bytes, shape);
    places.set([hostAt, startAt, endAt, sampledAt], index * PLACES);
    addReading(totals, shape.vm.customerId, shape.reading);
  });
  return {
    bytes: Buffer.from(bytes.taken()),
    places,
    minutes: Uint8Array.from(shapes, (shape) => shape.minute),
    sampledAfterNanos: Uint32Array.from(shapes, (shape) => shape.reading.sampledAfterNanos),
    totals,
    windows: shapes.length,
  };
}

/** A VM's id with room for its host's number, and where that is from the id's start. */
export const VM_ID = { of: (suffix: string): string => `vm-000000-${suffix}`, hostAt: 3 };

/** Puts a host's number into the ids of all windows of a template's copy. */
export function writeHost(target: Buffer, places: Int32Array, host: number): void {
  const digits = Buffer.from(String(host).padStart(HOST_DIGITS, '0'), 'latin1');
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = digits;
  for (let i = 0; i < places.length; i += PLACES) {
    const at = places[i] ?? 0;
    target[at] = a;
    target[at + 1] = b;
    target[at + 2] = c;
    target[at + 3] = d;
    target[at + 4] = e;
    target[at + 5] = f;
  }
}
