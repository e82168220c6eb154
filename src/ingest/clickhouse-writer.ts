import { Readable } from 'node:stream';
import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import type { ClickHouseClient } from '@clickhouse/client';
import { retry } from '../lib/retry.ts';
import { decodeRecord, TouchedHours } from './record.ts';
import { ROW_COLUMNS } from './row-binary.ts';

/** A position in the spool, opaque to the writer. */
export interface DrainedBatch<Position> {
  readonly payloads: readonly Uint8Array[];
  /** Behind the last payload. */
  readonly end: Position;
}

/** The spool as draining needs it. */
export interface Drainable<Position> {
  /** The next records that are on disk and not yet applied; `undefined` where there are none. */
  read(bytesMax: number): Promise<DrainedBatch<Position> | undefined>;
  /** Resolves when there is something to read, or `signal` fires. */
  waitForRecords(signal: AbortSignal): Promise<void>;
  /** Records durably that everything before `end` is stored. */
  markApplied(end: Position): Promise<void>;
  stats(): { readonly unappliedRecords: number };
}

export interface WriterOptions<Position> {
  readonly spool: Drainable<Position>;
  readonly clickhouse: ClickHouseClient;
  /** Told of each stored block. */
  readonly onStored: (rows: number, bytes: number, durationMs: number) => void;
  /** Told of each failed try; the rows stay in the spool and are tried again. */
  readonly onFailed: (reason: unknown, attempt: number) => void;
}

/** What is read at once: inserts of a few MiB each, which the engine works on side by side. */
const READ_BYTES_MAX = 28 * 1024 * 1024;
const INSERT_BYTES_MAX = 14 * 1024 * 1024;
/** The pause where little was waiting: small blocks cost the engine a part each. */
const PAUSE_MS = 100;

/**
 * Moves the spool into ClickHouse, at least once: windows first, then the hours that they touch, then the mark in the
 * spool. In this order a touched hour is never seen before its windows, and whatever is cut short is done again, which
 * the table's key makes harmless. No deduplication token: a retry whose blocks are cut differently would lose rows.
 */
export class ClickHouseWriter<Position> {
  readonly #options: WriterOptions<Position>;
  readonly #stop = new AbortController();
  readonly #waiters = new Set<{ readonly records: number; readonly resolve: () => void }>();
  #appliedRecords = 0;
  #running: Promise<void> | undefined;

  constructor(options: WriterOptions<Position>) {
    this.#options = options;
  }

  /** Drains until `stop`; the engine being away is waited out. */
  run(): Promise<void> {
    this.#running ??= this.#drain();
    return this.#running;
  }

  /** Ends after the block under way. What is left stays in the spool. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /**
   * Resolves when everything that is on disk now is stored: what was acknowledged before the call is then in ClickHouse.
   * @throws the signal's reason, where it fires first
   */
  async settle(signal: AbortSignal): Promise<void> {
    const records = this.#appliedRecords + this.#options.spool.stats().unappliedRecords;
    if (this.#appliedRecords >= records) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { records, resolve };
    const onAbort = (): void => reject(signal.reason);
    this.#waiters.add(waiter);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      this.#waiters.delete(waiter);
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #drain(): Promise<void> {
    const { spool } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const batch = await spool.read(READ_BYTES_MAX);
      if (batch === undefined) {
        await spool.waitForRecords(signal);
        continue;
      }
      const stored = await this.#storeUntilDone(batch);
      if (!stored) return;
      await spool.markApplied(batch.end);
      this.#appliedRecords += batch.payloads.length;
      for (const waiter of this.#waiters) if (this.#appliedRecords >= waiter.records) waiter.resolve();
      if (bytesOf(batch.payloads) < INSERT_BYTES_MAX) {
        await wait(PAUSE_MS, undefined, { signal }).catch((reason: unknown) => {
          if (!signal.aborted) throw reason;
        });
      }
    }
  }

  /** @returns false where `stop` came first */
  async #storeUntilDone(batch: DrainedBatch<Position>): Promise<boolean> {
    const { signal } = this.#stop;
    try {
      await retry(() => this.#store(batch), {
        attemptsMax: Number.POSITIVE_INFINITY,
        delayMs: 100,
        delayMsMax: 5000,
        signal,
        onRetry: this.#options.onFailed,
      });
      return true;
    } catch (reason) {
      if (signal.aborted) return false;
      throw reason;
    }
  }

  async #store(batch: DrainedBatch<Position>): Promise<void> {
    const startedMs = performance.now();
    const records = batch.payloads.map(decodeRecord);
    const touched = new TouchedHours();
    let rows = 0;
    let bytes = 0;
    for (const record of records) {
      touched.addAll(record.touched);
      rows += record.rowCount;
      bytes += record.rows.length;
    }
    const blocks = blocksOf(records.map((record) => record.rows));
    await Promise.all(blocks.map((block) => insertRows(this.#options.clickhouse, block)));
    await this.#insertTouched(touched);
    this.#options.onStored(rows, bytes, performance.now() - startedMs);
  }

  async #insertTouched(touched: TouchedHours): Promise<void> {
    const drainId = randomUUID();
    await this.#options.clickhouse.insert({
      table: 'touched_hours',
      values: touched.pairs().map(([customerId, hour]) => ({ drain_id: drainId, customer_id: customerId, hour })),
      format: 'JSONEachRow',
      clickhouse_settings: INSERT_SETTINGS,
    });
  }
}

/** Rows in blocks of about `INSERT_BYTES_MAX`. */
function blocksOf(rows: readonly Buffer[]): Buffer[][] {
  const blocks: Buffer[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const each of rows) {
    if (bytes >= INSERT_BYTES_MAX) {
      blocks.push([]);
      bytes = 0;
    }
    blocks.at(-1)?.push(each);
    bytes += each.length;
  }
  return blocks;
}

function bytesOf(payloads: readonly Uint8Array[]): number {
  return payloads.reduce((sum, payload) => sum + payload.length, 0);
}

/**
 * Backfilled windows may lie in any number of months, and an insert that the engine refuses would block all others. Copies
 * within one block are left to the merges, which collapse them anyway: doing it at each insert doubled its cost (3.2 against
 * 1.4 µs a row, with merges stopped).
 */
const INSERT_SETTINGS = {
  async_insert: 0,
  insert_deduplicate: 0,
  max_partitions_per_insert_block: '0',
  optimize_on_insert: 0,
} as const;

async function insertRows(clickhouse: ClickHouseClient, rows: readonly Buffer[]): Promise<void> {
  const answer = await clickhouse.exec({
    query: `INSERT INTO windows (${ROW_COLUMNS.join(', ')}) FORMAT RowBinary`,
    values: Readable.from(rows, { objectMode: false }),
    clickhouse_settings: INSERT_SETTINGS,
  });
  // The connection goes back to the pool only when the answer was read to its end.
  for await (const chunk of answer.stream) void chunk;
}
