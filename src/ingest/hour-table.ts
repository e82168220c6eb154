import { randomInt } from 'node:crypto';
import { HourWindows } from './hour-windows.ts';
import type { RowHead } from './row-scan.ts';
import type { TextPlace } from './window-block.ts';

/** Hours that were forgotten, for the next ones: at full rate thousands come and go a second. */
const SPARE_MAX = 4096;
const SPARE_BYTES_MAX = 16 * 1024;

/**
 * The hours of VMs that were used lately, up to a number of bytes; the one whose use is longest ago goes first.
 *
 * Found by a hash of the ids' own bytes, so that no text has to be made of them; hours of the same hash hang together
 * by `sameHash`. The order of use is a list through the hours themselves, by `newer` and `older`.
 */
export class HourTable {
  readonly #byHash = new Map<number, HourWindows>();
  readonly #bytesMax: number;
  readonly #spare: HourWindows[] = [];
  readonly #hash: (row: RowHead) => number;
  #newest: HourWindows | undefined;
  #oldest: HourWindows | undefined;
  #bytes = 0;

  /** @param hash of at most 30 bits, which V8 keeps without an object for each */
  constructor(bytesMax: number, hash: (row: RowHead) => number = seededHash()) {
    this.#bytesMax = bytesMax;
    this.#hash = hash;
  }

  /** The hour that a row belongs to, a new one where it is not there. It is the newest from here on. */
  hourOf(row: RowHead): HourWindows {
    // Rows of one VM and hour tend to follow each other.
    if (this.#newest?.isOf(row) === true) return this.#newest;
    const hash = this.#hash(row);
    let hour = this.#byHash.get(hash);
    while (hour !== undefined && !hour.isOf(row)) hour = hour.sameHash;
    if (hour === undefined) return this.#add(row, hash);
    this.#unlink(hour);
    this.#link(hour);
    return hour;
  }

  /** Tells that an hour of the table, the newest, has grown by so many bytes. */
  grew(bytes: number): void {
    this.#bytes += bytes;
    this.#shrink();
  }

  #add(row: RowHead, hash: number): HourWindows {
    const hour = this.#spare.pop() ?? new HourWindows();
    hour.begin(row);
    hour.hash = hash;
    hour.sameHash = this.#byHash.get(hash);
    this.#byHash.set(hash, hour);
    this.#link(hour);
    this.#bytes += hour.bytes;
    this.#shrink();
    return hour;
  }

  #shrink(): void {
    while (this.#bytes > this.#bytesMax && this.#oldest !== undefined) this.#remove(this.#oldest);
  }

  #remove(hour: HourWindows): void {
    this.#bytes -= hour.bytes;
    this.#unlink(hour);
    const first = this.#byHash.get(hour.hash);
    if (first !== hour) {
      let before = first;
      while (before !== undefined && before.sameHash !== hour) before = before.sameHash;
      if (before !== undefined) before.sameHash = hour.sameHash;
    } else if (hour.sameHash === undefined) this.#byHash.delete(hour.hash);
    else this.#byHash.set(hour.hash, hour.sameHash);
    hour.sameHash = undefined;
    if (this.#spare.length < SPARE_MAX && hour.bytes <= SPARE_BYTES_MAX) this.#spare.push(hour);
  }

  #link(hour: HourWindows): void {
    hour.older = this.#newest;
    if (this.#newest !== undefined) this.#newest.newer = hour;
    this.#newest = hour;
    this.#oldest ??= hour;
  }

  #unlink(hour: HourWindows): void {
    if (hour.newer === undefined) this.#newest = hour.older;
    else hour.newer.older = hour.older;
    if (hour.older === undefined) this.#oldest = hour.newer;
    else hour.older.newer = hour.newer;
    hour.newer = hour.older = undefined;
  }
}

/** Senders choose ids; with a seed of this process's own they cannot choose those that share a hash. */
function seededHash(): (row: RowHead) => number {
  const seed = randomInt(2 ** 31);
  return (row) => hashOf(row, seed);
}

/** Four bytes at a time, each mixed as FNV-1a does with one and stirred, then MurmurHash3's last steps. */
function hashOf({ customer, vm, hour }: RowHead, seed: number): number {
  let hash = hashText(vm, hashText(customer, seed ^ hour));
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 2;
}

function hashText({ view, start, end }: TextPlace, seed: number): number {
  let hash = seed;
  let i = start;
  for (; i + 4 <= end; i += 4) {
    hash = Math.imul(hash ^ view.getUint32(i, true), 0x01000193);
    // The upper bytes of a word reach the lower ones of the hash by this alone.
    hash ^= hash >>> 15;
  }
  for (; i < end; i++) hash = Math.imul(hash ^ view.getUint8(i), 0x01000193);
  return hash;
}
