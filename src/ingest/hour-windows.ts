import type { RowHead } from './row-scan.ts';
import { textAt, type TextPlace, viewOf } from './window-block.ts';

/** `new`; `duplicate`: taken before with the same values; `conflict`: taken before with others. */
export type Known = 'new' | 'duplicate' | 'conflict';

/** Numbers kept of each window: offset in the hour and length in nanoseconds, hash, batch. */
const STRIDE = 4;
/** Grows by eight: 8 for a VM that sends now and then, 64 for one that sends a window a minute. */
const CAPACITY_FIRST = 8;
const GROWTH = 8;
const NUMBER_BYTES = 8;
/** An entry's own cost beside its windows: objects, key, its place in the table. */
const ENTRY_BYTES = 400;

/** The windows of one VM that start in one hour, in order of start and length. */
export class HourWindows {
  hour = 0;
  customerId = '';
  /** The batch that last noted this hour as touched. */
  touchedBy = 0;
  /** Where the hour hangs in its `HourTable`, which alone sets these. */
  hash = 0;
  sameHash: HourWindows | undefined = undefined;
  newer: HourWindows | undefined = undefined;
  older: HourWindows | undefined = undefined;

  #key = viewOf(Buffer.alloc(0));
  #windows = new Float64Array(CAPACITY_FIRST * STRIDE);
  #count = 0;

  /** Starts anew as the hour that a row belongs to, in the memory that is there. */
  begin(head: RowHead): void {
    const { customer, vm } = head;
    const customerBytes = customer.end - customer.start;
    const keyBytes = customerBytes + vm.end - vm.start;
    if (this.#key.byteLength !== keyBytes) this.#key = viewOf(Buffer.allocUnsafe(keyBytes));
    const key = new Uint8Array(this.#key.buffer, this.#key.byteOffset, keyBytes);
    customer.bytes.copy(key, 0, customer.start, customer.end);
    vm.bytes.copy(key, customerBytes, vm.start, vm.end);
    this.hour = head.hour;
    this.customerId = textAt(customer);
    this.touchedBy = 0;
    this.#count = 0;
  }

  /** What the entry takes up in memory, about. */
  get bytes(): number {
    return ENTRY_BYTES + this.#windows.length * NUMBER_BYTES + this.#key.byteLength;
  }

  /** Whether a row is of this VM and hour. From the end, where the ids of neighbours differ. */
  isOf(head: RowHead): boolean {
    const key = this.#key;
    const { customer, vm } = head;
    const customerBytes = customer.end - customer.start;
    if (head.hour !== this.hour || customerBytes + vm.end - vm.start !== key.byteLength) return false;
    return endsWith(key, key.byteLength, vm) && endsWith(key, customerBytes, customer);
  }

  /** Looks a window up, and remembers it where it is new. */
  take(offsetNanos: number, lengthNanos: number, hash: number, batch: number): Known {
    const at = this.#find(offsetNanos, lengthNanos);
    if (this.#isAt(at, offsetNanos, lengthNanos)) return this.#windows[at + 2] === hash ? 'duplicate' : 'conflict';
    this.#insert(at);
    this.#windows[at] = offsetNanos;
    this.#windows[at + 1] = lengthNanos;
    this.#windows[at + 2] = hash;
    this.#windows[at + 3] = batch;
    return 'new';
  }

  /** The batch that brought a window; 0 where it is not known. */
  batchOf(offsetNanos: number, lengthNanos: number): number {
    const at = this.#find(offsetNanos, lengthNanos);
    return this.#isAt(at, offsetNanos, lengthNanos) ? (this.#windows[at + 3] ?? 0) : 0;
  }

  /** Forgets a window where that batch brought it. */
  remove(offsetNanos: number, lengthNanos: number, batch: number): void {
    const at = this.#find(offsetNanos, lengthNanos);
    if (!this.#isAt(at, offsetNanos, lengthNanos) || this.#windows[at + 3] !== batch) return;
    this.#windows.copyWithin(at, at + STRIDE, this.#count * STRIDE);
    this.#count--;
  }

  #isAt(at: number, offsetNanos: number, lengthNanos: number): boolean {
    const windows = this.#windows;
    return at < this.#count * STRIDE && windows[at] === offsetNanos && windows[at + 1] === lengthNanos;
  }

  /** The index of the first window that is not before the one asked for. Hosts send in order: the end is tried first. */
  #find(offsetNanos: number, lengthNanos: number): number {
    const windows = this.#windows;
    let low = 0;
    let high = this.#count;
    const lastOffset = windows[(high - 1) * STRIDE];
    if (high > 0 && lastOffset !== undefined && lastOffset < offsetNanos) return high * STRIDE;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const offset = windows[middle * STRIDE] ?? 0;
      const length = windows[middle * STRIDE + 1] ?? 0;
      if (offset < offsetNanos || (offset === offsetNanos && length < lengthNanos)) low = middle + 1;
      else high = middle;
    }
    return low * STRIDE;
  }

  #insert(at: number): void {
    const end = this.#count * STRIDE;
    if (end === this.#windows.length) {
      const larger = new Float64Array(GROWTH * end);
      larger.set(this.#windows);
      this.#windows = larger;
    }
    if (at < end) this.#windows.copyWithin(at + STRIDE, at, end);
    this.#count++;
  }
}

/** Whether a text lies in `key` before `keyEnd`. Its length is before its bytes, so that two texts are never taken for others. */
function endsWith(key: DataView, keyEnd: number, { view, start, end }: TextPlace): boolean {
  const shift = keyEnd - end;
  let i = end;
  for (; i - 4 >= start; i -= 4) if (key.getUint32(shift + i - 4) !== view.getUint32(i - 4)) return false;
  while (--i >= start) if (key.getUint8(shift + i) !== view.getUint8(i)) return false;
  return true;
}
