import { HourTable } from './hour-table.ts';
import type { HourWindows, Known } from './hour-windows.ts';
import type { RowHead, RowWalk } from './row-scan.ts';

/** The sync that a batch's windows wait for; shared by all of them. */
export interface Sync {
  /** Settles with the sync; `undefined` once it is on disk. */
  done: Promise<void> | undefined;
}

/** What a key takes up where a VM sends a window a minute: its share of an hour's entry. */
const BYTES_PER_KEY = 48;
/** The batch of windows that were on disk before this process started. */
const ON_DISK = 0;

/**
 * The first of the three depths of deduplication: the windows taken lately, and readings, which are windows of length 0
 * here. It answers at once and forgets the least
 * recently seen; a window that it forgot is stored a second time, which the table's key and the reading side make harmless.
 * So a miss costs storage, never money.
 *
 * What is cached is a VM's hour with its windows in one typed array, not a window: ten million separate keys would cost
 * ten times the memory, and a look-up a window instead of one an hour.
 */
export class RecentWindows {
  /** The VM's hour of the row that was taken last. */
  taken: HourWindows | undefined;

  readonly #hours: HourTable;
  /** Batches that are on their way to disk. */
  readonly #underWay = new Map<number, Sync>();
  #lastBatch = ON_DISK;

  /** @param keysMax bounds the memory: so many keys of VMs that send a window a minute */
  constructor(keysMax: number) {
    this.#hours = new HourTable(Math.max(4096, keysMax * BYTES_PER_KEY));
  }

  /** Starts a batch, whose windows others wait for until it has ended. @returns its number */
  begin(sync: Sync): number {
    this.#underWay.set(++this.#lastBatch, sync);
    return this.#lastBatch;
  }

  /** The batch's windows are on disk, or it had none. */
  end(batch: number): void {
    this.#underWay.delete(batch);
  }

  /** Looks a row up, and remembers it where it is new. A later report never replaces the first. */
  take(row: RowHead, batch: number): Known {
    const hour = this.#hours.hourOf(row);
    this.taken = hour;
    const bytes = hour.bytes;
    const known = hour.take(row.offsetNanos, row.lengthNanos, hashNumber(row), batch);
    if (hour.bytes !== bytes) this.#hours.grew(hour.bytes - bytes);
    return known;
  }

  /** What a duplicate that `take` just found waits for: `undefined` where the first report is on disk. */
  syncOf(row: RowHead): Sync | undefined {
    if (this.#underWay.size === 0) return undefined;
    return this.#underWay.get(this.#hours.hourOf(row).batchOf(row.offsetNanos, row.lengthNanos));
  }

  /** Takes back a batch whose sync failed: a resend must be stored, not called a duplicate. */
  forget(row: RowWalk, batch: number): void {
    this.#underWay.delete(batch);
    while (row.next()) this.#hours.hourOf(row).remove(row.offsetNanos, row.lengthNanos, batch);
  }

  /** Learns what the spool still holds from before a restart. The first of two reports stays. */
  warm(row: RowWalk): void {
    while (row.next()) this.take(row, ON_DISK);
  }
}

/** Of the 64 bits of a value hash the 53 that a number holds exactly. */
function hashNumber({ hashLow, hashHigh }: RowHead): number {
  return (hashHigh & 0x1f_ffff) * 4_294_967_296 + hashLow;
}
