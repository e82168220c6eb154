import { randomUUID } from 'node:crypto';
import { addAbortSignal, Readable } from 'node:stream';
import { type ClickHouseClient, ClickHouseError } from '@clickhouse/client';
import type { DrainSizes } from './drain-pace.ts';
import { type SpoolRecord, TouchedHours } from './record.ts';
import { ROW_COLUMNS } from './row-binary.ts';

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
 * Inserts the records' windows, blocks beside each other, and then the hours that they touch. When it returns or throws, no
 * byte of the records is read any more. The first insert that fails ends the others.
 * @param attempt its signal ends all of it at once
 * @throws ClickHouseError; the error of the connection; the attempt's reason
 */
export async function insertRecords(
  clickhouse: ClickHouseClient,
  records: readonly SpoolRecord[],
  sizes: Pick<DrainSizes, 'blockBytesMax' | 'blockRowsMax'>,
  attempt: AbortController,
): Promise<void> {
  const { signal } = attempt;
  const endAll = (reason: unknown): void => attempt.abort(reason);
  await Promise.all(blocksOf(records, sizes).map((block) => insertRows(clickhouse, block, signal).catch(endAll)));
  signal.throwIfAborted();
  await insertTouched(clickhouse, records, signal).catch(endAll);
  signal.throwIfAborted();
}

/** The records' rows in blocks of about the same size, as few as the bounds allow. */
function blocksOf(
  records: readonly SpoolRecord[],
  sizes: Pick<DrainSizes, 'blockBytesMax' | 'blockRowsMax'>,
): Buffer[][] {
  const bytes = records.reduce((sum, record) => sum + record.rows.length, 0);
  const rows = records.reduce((sum, record) => sum + record.rowCount, 0);
  const count = Math.ceil(Math.max(bytes / sizes.blockBytesMax, rows / sizes.blockRowsMax));
  const blocks: Buffer[][] = Array.from({ length: count }, () => []);
  let before = 0;
  for (const record of records) {
    blocks[Math.floor((before / bytes) * count)]?.push(record.rows);
    before += record.rows.length;
  }
  return blocks.filter((block) => block.length > 0);
}

async function insertRows(clickhouse: ClickHouseClient, rows: readonly Buffer[], signal: AbortSignal): Promise<void> {
  const answer = await clickhouse.exec({
    query: `INSERT INTO windows (${ROW_COLUMNS.join(', ')}) FORMAT RowBinary`,
    values: Readable.from(rows, { objectMode: false }),
    abort_signal: signal,
    clickhouse_settings: INSERT_SETTINGS,
  });
  // The connection goes back to the pool only when the answer was read to its end. The client heeds the signal no longer.
  for await (const chunk of addAbortSignal(signal, answer.stream)) void chunk;
}

async function insertTouched(
  clickhouse: ClickHouseClient,
  records: readonly SpoolRecord[],
  signal: AbortSignal,
): Promise<void> {
  const touched = new TouchedHours();
  for (const record of records) touched.addAll(record.touched);
  const drainId = randomUUID();
  await clickhouse.insert({
    table: 'touched_hours',
    values: touched.pairs().map(([customerId, hour]) => ({ drain_id: drainId, customer_id: customerId, hour })),
    format: 'JSONEachRow',
    abort_signal: signal,
    clickhouse_settings: INSERT_SETTINGS,
  });
}
