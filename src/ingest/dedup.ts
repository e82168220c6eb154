import { LRUCache } from 'lru-cache';
import type { RowKey } from './row-binary.ts';

/** The sync that a batch's windows wait for; shared by all of them. */
export interface Sync {
  /** Settles with the sync; `undefined` once it is on disk. */
  done: Promise<void> | undefined;
}

/** What is known of a reported window. */
export type Known =
  | { readonly state: 'new' }
  /** The same window with the same values was taken before; it is on disk once `sync` is done. */
  | { readonly state: 'duplicate'; readonly sync: Sync }
  /** The same window was taken before with other values. */
  | { readonly state: 'conflict' };

interface Entry {
  readonly valueHash: bigint;
  readonly sync: Sync;
}

const ON_DISK: Sync = { done: undefined };

/**
 * The first of the three depths of deduplication: the windows taken lately, by key. It answers at once and forgets the
 * least recently seen; a window that it forgot is stored a second time, which the table's key and the reading side make
 * harmless. So a miss costs storage, never money.
 */
export class RecentWindows {
  readonly #entries: LRUCache<string, Entry>;

  constructor(keysMax: number) {
    this.#entries = new LRUCache({ max: keysMax });
  }

  get size(): number {
    return this.#entries.size;
  }

  look(key: string, valueHash: bigint): Known {
    const entry = this.#entries.get(key);
    if (entry === undefined) return { state: 'new' };
    return entry.valueHash === valueHash ? { state: 'duplicate', sync: entry.sync } : { state: 'conflict' };
  }

  /** Remembers a window from its first report on; a later one never replaces it. */
  remember(key: string, valueHash: bigint, sync: Sync): void {
    this.#entries.set(key, { valueHash, sync });
  }

  /** Takes back what was remembered for a sync that failed: a resend must be stored, not called a duplicate. */
  forget(keys: Iterable<string>, sync: Sync): void {
    for (const key of keys) {
      if (this.#entries.peek(key)?.sync === sync) this.#entries.delete(key);
    }
  }

  /** Learns windows that the spool still holds from before a restart. The first of two reports stays. */
  warm(rows: Iterable<RowKey>): void {
    for (const { key, valueHash } of rows) {
      if (!this.#entries.has(key)) this.#entries.set(key, { valueHash, sync: ON_DISK });
    }
  }
}
