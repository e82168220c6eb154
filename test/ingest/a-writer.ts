import { once } from 'node:events';
import type { ClickHouseClient } from '@clickhouse/client';
import { ClickHouseWriter, type WriterOptions } from '../../src/ingest/clickhouse-writer.ts';
import type { DrainedBatch } from '../../src/ingest/drain-pass.ts';
import type { SpoolRecord } from '../../src/ingest/record.ts';
import type { CircuitChange } from '../../src/lib/circuit-breaker.ts';

/** A spool of records in memory; positions are counts. It gives as many records at once as fit. */
export class ListedSpool {
  readonly #payloads: readonly Buffer[];
  readonly marks: number[] = [];
  /** Numbers of records, from 1, whose bytes have gone bad: they are given no more. */
  readonly lost = new Set<number>();
  readonly #onMark: (end: number) => Promise<void>;

  constructor(payloads: readonly Buffer[], onMark: (end: number) => Promise<void> = async () => undefined) {
    this.#payloads = payloads;
    this.#onMark = onMark;
  }

  async read(bytesMax: number, after?: number): Promise<DrainedBatch<number> | undefined> {
    const from = after ?? this.marks.at(-1) ?? 0;
    if (from >= this.#payloads.length) return undefined;
    let bytes = 0;
    let end = from;
    do bytes += this.#payloads[end++]?.length ?? 0;
    while (end < this.#payloads.length && bytes + (this.#payloads[end]?.length ?? 0) <= bytesMax);
    const records = Array.from({ length: end - from }, (_, i) => from + i + 1).filter(
      (record) => !this.lost.has(record),
    );
    return { payloads: records.map((record) => this.#payloads[record - 1] ?? Buffer.alloc(0)), records, end };
  }

  async waitForRecords(signal: AbortSignal): Promise<void> {
    if (this.stats().unappliedRecords === 0 && !signal.aborted) await once(signal, 'abort');
  }

  async markApplied(end: number): Promise<void> {
    await this.#onMark(end);
    this.marks.push(end);
  }

  stats() {
    const appliedRecord = this.marks.at(-1) ?? 0;
    const left = this.#payloads.slice(appliedRecord);
    const unappliedBytes = left.reduce((sum, payload) => sum + payload.length, 0);
    return { lastRecord: this.#payloads.length, appliedRecord, unappliedRecords: left.length, unappliedBytes };
  }
}

/** A writer that is not running yet, with what it told. */
export function aWriter(
  spool: ListedSpool,
  clickhouse: ClickHouseClient,
  options: Partial<WriterOptions<number>> = {},
) {
  const failures: string[] = [];
  const stored: number[] = [];
  const circuits: CircuitChange['circuit']['name'][] = [];
  const setAside: SpoolRecord[] = [];
  const opened = Promise.withResolvers<void>();
  const writer = new ClickHouseWriter({
    spool,
    clickhouse,
    onStored: (rows) => stored.push(rows),
    onFailed: (failure) => failures.push(failure),
    onCircuit: ({ circuit }) => {
      circuits.push(circuit.name);
      if (circuit.name === 'open') opened.resolve();
    },
    setAside: async (record) => {
      setAside.push({ ...record, rows: Buffer.from(record.rows) });
      return 'a-file';
    },
    onSetAside: () => undefined,
    ...options,
  });
  // The failure that opens the circuit is told right after.
  const openedAndTold = opened.promise.then(() => new Promise(setImmediate));
  /** `opened` resolves when the circuit opens for the first time. */
  return { writer, failures, stored, circuits, setAside, opened: openedAndTold };
}
