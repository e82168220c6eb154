import type { EvidenceTable } from './evidence-rows.ts';
import { nativeBlock } from './native-block.ts';
import { decodeRecord, rowsOf, type SpoolRecord, TouchedHours, windowsOf } from './record.ts';

/** Rows of other tables are held in memory until the windows are sent: so many bytes of them end a pass. */
const EVIDENCE_BYTES_MAX = 16 * 1024 * 1024;

/** A position in the spool, opaque to whoever drains it. */
export interface DrainedBatch<Position> {
  /** Lent until the next read. */
  readonly payloads: readonly Uint8Array[];
  /** The number of each of them: it stays the same however often it is read, and whatever goes bad before it. */
  readonly records: readonly number[];
  /** Behind the last payload. */
  readonly end: Position;
}

/** The spool as draining needs it. */
export interface Drainable<Position> {
  /** The next records that are on disk, behind `after` or else not yet applied: at least one; `undefined` where there are none. */
  read(bytesMax: number, after?: Position): Promise<DrainedBatch<Position> | undefined>;
  /** Resolves when there is something to read, or `signal` fires. */
  waitForRecords(signal: AbortSignal): Promise<void>;
  /** Records durably that everything before `end` is stored. */
  markApplied(end: Position): Promise<void>;
  /** Records by their numbers, which rise. Those that are lost have one too: nobody can wait for so many records. */
  stats(): {
    readonly lastRecord: number;
    readonly appliedRecord: number;
    readonly unappliedRecords: number;
    readonly unappliedBytes: number;
  };
}

type NumberedRecord = readonly [number: number, record: SpoolRecord];

/**
 * One pass over the spool, from its mark on: what one try to store takes. Read piece by piece while it is sent, so that an
 * insert may be far larger than the memory for it.
 */
export class DrainPass<Position> {
  /** Behind the last record taken; `undefined` where there was none. */
  end: Position | undefined;
  rows = 0;
  bytes = 0;
  readonly touched = new TouchedHours();
  /** Rows of other tables than `windows`: complete once `blocks` has ended. */
  readonly evidence = new Map<EvidenceTable, Buffer[]>();
  /** Why the spool could not be read, or its records not decoded: no fault of ClickHouse's. */
  failure: { readonly reason: unknown } | undefined;

  readonly #spool: Drainable<Position>;
  readonly #bytesMax: number;
  readonly #readBytesMax: number;
  readonly #leftOut: ReadonlyMap<number, unknown>;
  readonly #memory: (bytes: number) => Buffer;
  #reading: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  #evidenceBytes = 0;

  /**
   * @param bounds bytes of all of it, to within one read, and of one read
   * @param leftOut numbers of records that are not stored
   * @param memory where blocks are written
   */
  constructor(
    spool: Drainable<Position>,
    bounds: { readonly bytesMax: number; readonly readBytesMax: number },
    leftOut: ReadonlyMap<number, unknown>,
    memory: (bytes: number) => Buffer = (bytes) => Buffer.allocUnsafeSlow(bytes),
  ) {
    this.#memory = memory;
    this.#spool = spool;
    this.#bytesMax = bounds.bytesMax;
    this.#readBytesMax = bounds.readBytesMax;
    this.#leftOut = leftOut;
  }

  /** The windows, as blocks of ClickHouse's `Native`, in memory of `SendMemory`. @throws BrokenBlock; what `failure` has */
  async *blocks(): AsyncGenerator<Buffer, void, void> {
    for await (const batch of this.#batches()) {
      const kept = batch.filter(([number]) => !this.#leftOut.has(number)).map(([, record]) => record);
      for (const record of kept) this.#note(record);
      const windows = kept.filter(({ rowCount }) => rowCount > 0).map(windowsOf);
      if (windows.length > 0) yield nativeBlock(windows, this.#memory);
    }
  }

  /** The records for which `is` holds, by their numbers. Those that are left out are looked at no more. */
  async find(is: (record: SpoolRecord) => boolean): Promise<Map<number, SpoolRecord>> {
    const found = new Map<number, SpoolRecord>();
    for await (const batch of this.#batches()) {
      for (const [number, record] of batch) {
        if (!this.#leftOut.has(number) && is(record)) found.set(number, copyOf(record));
      }
    }
    return found;
  }

  /** Ends the pass. When it returns, nothing of the spool is read any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#reading;
  }

  async *#batches(): AsyncGenerator<readonly NumberedRecord[], void, void> {
    while (!this.#isClosed && this.bytes < this.#bytesMax && this.#evidenceBytes < EVIDENCE_BYTES_MAX) {
      const batch = await this.#read(Math.min(this.#readBytesMax, this.#bytesMax - this.bytes));
      if (batch === undefined) return;
      this.end = batch.end;
      this.bytes += batch.payloads.reduce((sum, payload) => sum + payload.length, 0);
      yield this.#decode(batch);
    }
  }

  async #read(bytesMax: number): Promise<DrainedBatch<Position> | undefined> {
    const reading = this.#spool.read(bytesMax, this.end);
    this.#reading = reading.catch(() => undefined);
    return reading.catch((reason: unknown) => this.#fail(reason));
  }

  #note(record: SpoolRecord): void {
    this.rows += rowsOf(record);
    this.touched.addAll(record.touched);
    for (const { table, rows } of record.evidence) {
      this.#evidenceBytes += rows.length;
      const before = this.evidence.get(table);
      if (before === undefined) this.evidence.set(table, [Buffer.from(rows)]);
      else before.push(Buffer.from(rows));
    }
  }

  #decode({ payloads, records }: DrainedBatch<Position>): NumberedRecord[] {
    try {
      return payloads.map((payload, i) => [records[i] ?? 0, decodeRecord(payload)]);
    } catch (reason) {
      return this.#fail(reason);
    }
  }

  #fail(reason: unknown): never {
    this.failure = { reason };
    throw reason;
  }
}

/** What the spool lends, kept. */
function copyOf(record: SpoolRecord): SpoolRecord {
  const evidence = record.evidence.map((each) => ({ ...each, rows: Buffer.from(each.rows) }));
  return { ...record, rows: Buffer.from(record.rows), evidence };
}
