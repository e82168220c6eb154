import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';

export const HOUR_SECONDS = 3600;
export const HOUR_NANOS = 3_600_000_000_000n;

export type QueryParameters = Record<string, string | number | readonly (string | number)[]>;

/** How every statement of this folder runs. How long it may is the client's: what callers wait for less than a job's. */
export const SETTINGS: ClickHouseSettings = {
  // 64-bit and wider integers come as text; as JSON numbers they would be rounded.
  output_format_json_quote_64bit_integers: 1,
  // One statement reads a table more than once (see hour-rows.ts) and must see the same rows each time.
  enable_shared_storage_snapshot_in_query: 1,
  // All versions of an hour's row lie in the same month, so months need not be merged with each other.
  do_not_merge_across_partitions_select_final: 1,
};

/** Most reading statements take less time than starting these takes. */
const READING: ClickHouseSettings = {
  ...SETTINGS,
  // Answers are short; formatting them side by side takes two more threads.
  output_format_parallel_formatting: 0,
  // Compiling an expression takes 100 to 200 ms, which only seconds of reading would earn back.
  compile_expressions: 0,
  compile_aggregate_expressions: 0,
  compile_sort_description: 0,
};

/**
 * Runs one reading statement, for as long as the client lets it. Values travel as parameters, never inside the text.
 * @param sessionId of a session that has temporary tables that are read
 * @throws what ClickHouse or the network reports; the signal's reason
 */
export async function select<Row>(
  clickhouse: ClickHouseClient,
  sql: string,
  parameters: QueryParameters,
  signal: AbortSignal,
  sessionId?: string,
): Promise<Row[]> {
  signal.throwIfAborted();
  const result = await clickhouse.query({
    query: sql,
    query_params: parameters,
    format: 'JSONEachRow',
    ...(sessionId === undefined ? {} : { session_id: sessionId }),
    abort_signal: signal,
    clickhouse_settings: READING,
  });
  return result.json<Row>();
}
