import { randomUUID } from 'node:crypto';
import { addAbortSignal, Readable } from 'node:stream';
import { type ClickHouseClient, ClickHouseError } from '@clickhouse/client';
import type { DrainPass } from './drain-pass.ts';
import { EVIDENCE_COLUMNS, type EvidenceTable } from './evidence-rows.ts';
import { WINDOW_COLUMNS } from './native-block.ts';
import type { TouchedHours } from './record.ts';

/** Storing took longer than its bound. Whether ClickHouse has the rows nobody knows; storing them again is harmless. */
export class StoreTimeout extends Error {
  constructor(timeoutMs: number) {
    super(`ClickHouse has not stored a batch within ${timeoutMs} ms`);
    this.name = 'StoreTimeout';
  }
}

/**
 * Why records could not be stored:
 * - `timeout`: no answer in time
 * - `too_much`: no memory, no free query or not enough time for so much at once
 * - `too_often`: more parts than can be merged
 * - `refused`: any other error that ClickHouse answered with
 * - `other`: no answer, or an error on our side
 */
export type StoreFailure = 'timeout' | 'too_much' | 'too_often' | 'refused' | 'other';

/** https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp */
const FAILURES_BY_CODE: Readonly<Record<string, StoreFailure>> = {
  '159': 'too_much', // TIMEOUT_EXCEEDED
  '202': 'too_much', // TOO_MANY_SIMULTANEOUS_QUERIES
  '241': 'too_much', // MEMORY_LIMIT_EXCEEDED
  '252': 'too_often', // TOO_MANY_PARTS
};

export function storeFailureOf(reason: unknown): StoreFailure {
  if (reason instanceof StoreTimeout) return 'timeout';
  if (reason instanceof ClickHouseError) return FAILURES_BY_CODE[reason.code] ?? 'refused';
  return 'other';
}

/** Of an insert the whole is one part, whatever the profile says: ClickHouse gathers its blocks up to these. */
const ONE_PART = {
  min_insert_block_size_rows: '1048576',
  min_insert_block_size_bytes: String(256 * 1024 * 1024),
} as const;

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

/**
 * Inserts what a pass takes from the spool: windows, rows of other tables, and then the hours that they touch. Where the spool cannot be read, it
 * returns: the pass has the failure, which is none of ClickHouse's.
 * @throws ClickHouseError; BrokenBlock; the error of the connection; the signal's reason
 */
export async function storePass(
  clickhouse: ClickHouseClient,
  pass: DrainPass<unknown>,
  signal: AbortSignal,
): Promise<void> {
  try {
    const blocks = pass.blocks();
    const first = await blocks.next();
    // An insert of nothing is an error to ClickHouse.
    if (first.done !== true) {
      const into = `windows (${WINDOW_COLUMNS.join(', ')}) FORMAT Native`;
      await insert(clickhouse, into, startingWith(first.value, blocks), signal);
    }
    // Without its key's customers, what is told of a VM alone would count for everybody.
    const isScope = ([table]: [EvidenceTable, unknown]) => Number(table === 'key_customers');
    for (const [table, rows] of [...pass.evidence].toSorted((a, b) => isScope(b) - isScope(a))) {
      const columns = Object.keys(EVIDENCE_COLUMNS[table]).join(', ');
      await insert(clickhouse, `${table} (${columns}) FORMAT RowBinary`, rows, signal);
    }
    await insertTouched(clickhouse, pass.touched, signal);
  } catch (reason) {
    signal.throwIfAborted();
    if (pass.failure === undefined) throw reason;
  }
}

async function* startingWith(first: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield first;
  yield* rest;
}

async function insert(
  clickhouse: ClickHouseClient,
  into: string,
  pieces: AsyncIterable<Buffer> | Iterable<Buffer>,
  signal: AbortSignal,
): Promise<void> {
  const answer = await clickhouse.exec({
    query: `INSERT INTO ${into}`,
    values: Readable.from(pieces, { objectMode: false }),
    abort_signal: signal,
    clickhouse_settings: { ...INSERT_SETTINGS, ...ONE_PART },
  });
  // The connection goes back to the pool only when the answer was read to its end. The client heeds the signal no longer.
  for await (const chunk of addAbortSignal(signal, answer.stream)) void chunk;
}

async function insertTouched(clickhouse: ClickHouseClient, touched: TouchedHours, signal: AbortSignal): Promise<void> {
  const pairs = touched.pairs();
  if (pairs.length === 0) return;
  const drainId = randomUUID();
  await clickhouse.insert({
    table: 'touched_hours',
    values: pairs.map(([customerId, hour]) => ({ drain_id: drainId, customer_id: customerId, hour })),
    format: 'JSONEachRow',
    abort_signal: signal,
    clickhouse_settings: INSERT_SETTINGS,
  });
}
