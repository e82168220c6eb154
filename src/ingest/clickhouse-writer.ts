import { setTimeout as wait } from 'node:timers/promises';
import { type ClickHouseClient, ClickHouseError } from '@clickhouse/client';
import { type Circuit, CircuitBreaker, type CircuitChange } from '../lib/circuit-breaker.ts';
import { isBroken } from './broken-records.ts';
import { DRAIN_SIZES, DrainPace, type DrainSizes } from './drain-pace.ts';
import { type Drainable, DrainPass } from './drain-pass.ts';
import { rowsOf, type SpoolRecord } from './record.ts';
import { SendMemory } from './send-memory.ts';
import { type StoreFailure, storeFailureOf, storePass, StoreTimeout } from './store-pass.ts';
import { BrokenBlock } from './window-block.ts';

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
 * Moves the spool into ClickHouse, at least once: rows first, then the hours that they touch, then the mark in the
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
  /** By the record that is to be stored. */
  readonly #waiters = new Set<{ readonly record: number; readonly resolve: () => void }>();
  /** Records that are set aside, by their numbers, until the spool is marked behind them. */
  readonly #leftOut = new Map<number, { readonly file: string; readonly rows: number; readonly reason: unknown }>();
  readonly #memory = new SendMemory();
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
    const { lastRecord: record } = this.#options.spool.stats();
    if (this.#isStored(record)) return;
    // A signal that has fired tells its listeners nothing: stopping would wait for ever.
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { record, resolve };
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
    for (;;) {
      if (this.#breaker.waitMs > 0) await pause(Math.ceil(this.#breaker.waitMs), signal);
      else await spool.waitForRecords(signal);
      if (signal.aborted) return;
      if (this.#breaker.waitMs > 0) continue;
      const startedMs = performance.now();
      this.#underWaySinceMs = startedMs;
      const storedBytes = await this.#store();
      this.#underWaySinceMs = undefined;
      for (const { record, resolve } of this.#waiters) if (this.#isStored(record)) resolve();
      const waitingBytes = storedBytes > 0 ? spool.stats().unappliedBytes : 0;
      await pause(this.#pace.pauseMs(storedBytes, waitingBytes), signal);
      if (waitingBytes > this.#pace.insertBytes) this.#pace.rate(storedBytes, performance.now() - startedMs);
    }
  }

  /** @returns bytes that were stored and marked; 0 where a try failed, which was told @throws the error of the spool */
  async #store(): Promise<number> {
    const startedMs = performance.now();
    const isClosed = this.#breaker.circuit.name === 'closed';
    const bytesMax = isClosed ? this.#pace.insertBytes : this.#sizes.insertBytesMin;
    const pass = await this.#breaker
      .run(() => this.#attempt(bytesMax))
      .catch((reason: unknown) => {
        this.#failed(reason);
        return undefined;
      });
    if (pass === undefined) return 0;
    if (pass.failure !== undefined) throw pass.failure.reason;
    if (pass.end === undefined) return 0;
    this.#pace.stored();
    this.#options.onStored(pass.rows, pass.bytes, performance.now() - startedMs);
    await this.#options.spool.markApplied(pass.end);
    this.#marked();
    return pass.bytes;
  }

  #failed(reason: unknown): void {
    const failure = storeFailureOf(reason);
    if (failure === 'timeout' || failure === 'too_much') this.#pace.tooMuch();
    if (failure === 'too_often') this.#pace.tooOften();
    if (!this.#giveUp.signal.aborted) this.#options.onFailed(failure, reason);
  }

  /** Whether a record and all before it are stored, or can no longer be read, which the spool has told. */
  #isStored(record: number): boolean {
    const { appliedRecord, unappliedRecords } = this.#options.spool.stats();
    return appliedRecord >= record || unappliedRecords === 0;
  }

  #marked(): void {
    const { appliedRecord } = this.#options.spool.stats();
    for (const [record, { file, rows, reason }] of this.#leftOut) {
      if (record > appliedRecord) continue;
      this.#leftOut.delete(record);
      this.#options.onSetAside(file, rows, reason);
    }
  }

  /** One try; and another where it failed because of records that are broken, which are set aside first. */
  async #attempt(bytesMax: number): Promise<DrainPass<Position>> {
    try {
      return await this.#insert(bytesMax);
    } catch (reason) {
      if (!(reason instanceof ClickHouseError) && !(reason instanceof BrokenBlock)) throw reason;
      if (!(await this.#setAside(bytesMax, reason))) throw reason;
      return this.#insert(bytesMax);
    }
  }

  /** Keeps broken records elsewhere and leaves them out from here on. @returns whether there are any */
  async #setAside(bytesMax: number, reason: unknown): Promise<boolean> {
    const broken = await this.#pass(bytesMax).find(isBroken);
    for (const [number, record] of broken) {
      const file = await this.#options.setAside(record, reason);
      this.#leftOut.set(number, { file, rows: rowsOf(record), reason });
    }
    return broken.size > 0;
  }

  /** Within its time. When it returns or throws, nothing of the spool is read any more. */
  async #insert(bytesMax: number): Promise<DrainPass<Position>> {
    this.#giveUp.signal.throwIfAborted();
    const attempt = new AbortController();
    const timeoutMs = this.#options.storeTimeoutMs ?? STORE_TIMEOUT_MS;
    const timeout = setTimeout(() => attempt.abort(new StoreTimeout(timeoutMs)), timeoutMs);
    const giveUp = (): void => attempt.abort(this.#giveUp.signal.reason);
    this.#giveUp.signal.addEventListener('abort', giveUp);
    const pass = this.#pass(bytesMax);
    try {
      await storePass(this.#options.clickhouse, pass, attempt.signal);
      return pass;
    } finally {
      clearTimeout(timeout);
      this.#giveUp.signal.removeEventListener('abort', giveUp);
      await pass.close();
    }
  }

  #pass(bytesMax: number): DrainPass<Position> {
    const { readBytesMax } = this.#sizes;
    return new DrainPass(this.#options.spool, { bytesMax, readBytesMax }, this.#leftOut, this.#memory.take);
  }
}

async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  if (durationMs === 0 || signal.aborted) return;
  await wait(durationMs, undefined, { signal }).catch((reason: unknown) => {
    if (!signal.aborted) throw reason;
  });
}
