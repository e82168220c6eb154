import { setTimeout as wait } from 'node:timers/promises';
import { type ClickHouseClient, ClickHouseError } from '@clickhouse/client';
import { type Circuit, CircuitBreaker, type CircuitChange } from '../lib/circuit-breaker.ts';
import { isBroken } from './broken-records.ts';
import { DRAIN_SIZES, DrainPace, type DrainSizes } from './drain-pace.ts';
import { insertRecords, type StoreFailure, storeFailureOf, StoreTimeout } from './insert-records.ts';
import { decodeRecord, type SpoolRecord } from './record.ts';

/** A position in the spool, opaque to the writer. */
export interface DrainedBatch<Position> {
  /** Lent until the next read. */
  readonly payloads: readonly Uint8Array[];
  /** Behind the last payload. */
  readonly end: Position;
}

/** The spool as draining needs it. */
export interface Drainable<Position> {
  /** The next records that are on disk and not yet applied, at least one; `undefined` where there are none. */
  read(bytesMax: number): Promise<DrainedBatch<Position> | undefined>;
  /** Resolves when there is something to read, or `signal` fires. */
  waitForRecords(signal: AbortSignal): Promise<void>;
  /** Records durably that everything before `end` is stored. */
  markApplied(end: Position): Promise<void>;
  stats(): { readonly unappliedRecords: number; readonly unappliedBytes: number };
}

/** What the writer tells, for logs and metrics. Listeners must not throw. */
export interface WriterListener {
  /** A batch is stored. */
  readonly onStored: (rows: number, bytes: number, durationMs: number) => void;
  /** A try failed; the records stay in the spool and are tried again. */
  readonly onFailed: (failure: StoreFailure, reason: unknown) => void;
  /** ClickHouse is away, is tried, or is back. */
  readonly onCircuit: (change: CircuitChange) => void;
  /** A record was refused that cannot be read; its windows are not stored. */
  readonly onSetAside: (file: string, rows: number, reason: unknown) => void;
}

export interface WriterOptions<Position> extends WriterListener {
  readonly spool: Drainable<Position>;
  readonly clickhouse: ClickHouseClient;
  /** Keeps a record that cannot be stored. Resolves with its file once that is on disk. */
  readonly setAside: (record: SpoolRecord, reason: unknown) => Promise<string>;
  /** `DRAIN_SIZES` where left out. */
  readonly sizes?: DrainSizes;
  /** How long storing a batch may take before it is given up and counts as hung. 30 s where left out. */
  readonly storeTimeoutMs?: number;
}

/** A full batch takes about a second on two busy cores: what takes this long is stuck. */
const STORE_TIMEOUT_MS = 30_000;
/** How long stopping waits for the batch under way. Given up, it is stored at the next start. */
const STOP_GRACE_MS = 5_000;
/** A first failure is often a connection that was just closed, so it alone opens nothing. */
const CIRCUIT = { failuresMax: 3, delayMs: 500, delayMsMax: 30_000 };
/** What a sender is told at least and at most: it should neither hammer nor sit out a recovery. */
const RETRY_AFTER_MS_MIN = 1_000;
const RETRY_AFTER_MS_MAX = 60_000;

/**
 * Moves the spool into ClickHouse, at least once: windows first, then the hours that they touch, then the mark in the
 * spool. In this order a touched hour is never seen before its windows, and whatever is cut short is done again, which
 * the table's key makes harmless. No deduplication token: a retry whose blocks are cut differently would lose rows.
 *
 * Modes: those of the circuit. Closed: batches as large and as frequent as the pace allows. Open: nothing is sent, the
 * spool fills. Half-open: one small batch.
 */
export class ClickHouseWriter<Position> {
  readonly #options: WriterOptions<Position>;
  readonly #sizes: DrainSizes;
  readonly #pace: DrainPace;
  readonly #breaker: CircuitBreaker;
  readonly #stop = new AbortController();
  readonly #giveUp = new AbortController();
  readonly #waiters = new Set<{ readonly records: number; readonly resolve: () => void }>();
  #appliedRecords = 0;
  #underWaySinceMs: number | undefined;
  #running: Promise<void> | undefined;

  constructor(options: WriterOptions<Position>) {
    this.#options = options;
    this.#sizes = options.sizes ?? DRAIN_SIZES;
    this.#pace = new DrainPace(this.#sizes);
    this.#breaker = new CircuitBreaker({
      ...CIRCUIT,
      target: 'ClickHouse',
      isHung: (reason) => reason instanceof StoreTimeout,
      onChange: options.onCircuit,
    });
  }

  /** Whether ClickHouse takes what is sent, and for how long it has not; 0 where it does. */
  get clickHouse(): { readonly circuit: Circuit['name']; readonly awayMs: number } {
    return { circuit: this.#breaker.circuit.name, awayMs: this.#breaker.awayMs };
  }

  /**
   * When it is worth trying again for somebody whom the spool has no room for: the time until `bytes` more are drained at
   * the rate measured last, and before that the next probe where ClickHouse is away. A batch that takes longer than that
   * is taken to need as long again.
   */
  retryAfterMs(bytes: number): number {
    const sinceMs = this.#underWaySinceMs;
    const underWayMs = sinceMs === undefined ? 0 : performance.now() - sinceMs;
    const untilMs = Math.max(underWayMs, this.#breaker.waitMs + (this.#pace.durationMs(bytes) ?? 0));
    return Math.min(RETRY_AFTER_MS_MAX, Math.max(RETRY_AFTER_MS_MIN, Math.ceil(untilMs)));
  }

  /** Drains until `stop`; ClickHouse being away is waited out. @throws the error of the spool; what is a defect of ours */
  run(): Promise<void> {
    this.#running ??= this.#drain();
    return this.#running;
  }

  /** Ends after the batch under way, or gives it up. What is not stored stays in the spool. */
  async stop(): Promise<void> {
    this.#stop.abort();
    const givingUp = setTimeout(() => this.#giveUp.abort(new Error('meterd stops')), STOP_GRACE_MS);
    try {
      await this.#running;
    } finally {
      clearTimeout(givingUp);
    }
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
      if (this.#breaker.waitMs > 0) {
        await pause(Math.ceil(this.#breaker.waitMs), signal);
        continue;
      }
      const startedMs = performance.now();
      const isClosed = this.#breaker.circuit.name === 'closed';
      const batch = await spool.read(isClosed ? this.#pace.readBytesMax : this.#sizes.blockBytesMin);
      if (batch === undefined) {
        await spool.waitForRecords(signal);
        continue;
      }
      this.#underWaySinceMs = startedMs;
      const isStored = await this.#store(batch);
      if (isStored) await this.#marked(batch);
      this.#underWaySinceMs = undefined;
      const waitingBytes = isStored ? spool.stats().unappliedBytes : 0;
      await pause(this.#pace.pauseMs(waitingBytes), signal);
      if (waitingBytes > this.#pace.blockBytes) {
        this.#pace.rate(bytesOf(batch.payloads), performance.now() - startedMs);
      }
    }
  }

  async #marked(batch: DrainedBatch<Position>): Promise<void> {
    await this.#options.spool.markApplied(batch.end);
    this.#appliedRecords += batch.payloads.length;
    for (const waiter of this.#waiters) if (this.#appliedRecords >= waiter.records) waiter.resolve();
  }

  /** @returns whether the batch is stored; where it is not, that was told */
  async #store(batch: DrainedBatch<Position>): Promise<boolean> {
    const startedMs = performance.now();
    const records = batch.payloads.map(decodeRecord);
    try {
      const stored = await this.#breaker.run(() => this.#attempt(records));
      const rows = stored.reduce((sum, record) => sum + record.rowCount, 0);
      const bytes = stored.reduce((sum, record) => sum + record.rows.length, 0);
      this.#pace.stored();
      this.#options.onStored(rows, bytes, performance.now() - startedMs);
      return true;
    } catch (reason) {
      const failure = storeFailureOf(reason);
      if (failure === 'timeout' || failure === 'too_much') this.#pace.tooMuch();
      if (failure === 'too_often') this.#pace.tooOften();
      if (!this.#giveUp.signal.aborted) this.#options.onFailed(failure, reason);
      return false;
    }
  }

  /**
   * One try, within its time. Where ClickHouse refuses the batch and some records are broken, those are set aside and the
   * others stored.
   * @returns the records that are stored
   * @throws what ClickHouse, the connection or the disk reports; StoreTimeout
   */
  async #attempt(records: readonly SpoolRecord[]): Promise<readonly SpoolRecord[]> {
    try {
      await this.#insert(records);
      return records;
    } catch (reason) {
      if (!(reason instanceof ClickHouseError)) throw reason;
      const broken = records.filter(isBroken);
      if (broken.length === 0) throw reason;
      const kept: [SpoolRecord, string][] = [];
      for (const record of broken) kept.push([record, await this.#options.setAside(record, reason)]);
      const whole = records.filter((record) => !broken.includes(record));
      await this.#insert(whole);
      for (const [record, file] of kept) this.#options.onSetAside(file, record.rowCount, reason);
      return whole;
    }
  }

  async #insert(records: readonly SpoolRecord[]): Promise<void> {
    this.#giveUp.signal.throwIfAborted();
    const attempt = new AbortController();
    const timeoutMs = this.#options.storeTimeoutMs ?? STORE_TIMEOUT_MS;
    const timeout = setTimeout(() => attempt.abort(new StoreTimeout(timeoutMs)), timeoutMs);
    const giveUp = (): void => attempt.abort(this.#giveUp.signal.reason);
    this.#giveUp.signal.addEventListener('abort', giveUp);
    try {
      const blockBytesMax = this.#pace.blockBytes;
      await insertRecords(this.#options.clickhouse, records, { ...this.#sizes, blockBytesMax }, attempt);
    } finally {
      clearTimeout(timeout);
      this.#giveUp.signal.removeEventListener('abort', giveUp);
    }
  }
}

function bytesOf(payloads: readonly Uint8Array[]): number {
  return payloads.reduce((sum, payload) => sum + payload.length, 0);
}

async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  if (durationMs === 0 || signal.aborted) return;
  await wait(durationMs, undefined, { signal }).catch((reason: unknown) => {
    if (!signal.aborted) throw reason;
  });
}
