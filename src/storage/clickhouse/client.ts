import { type ClickHouseClient, ClickHouseLogLevel, createClient } from '@clickhouse/client';

/** The database that meterd uses where neither the URL nor the caller names one. */
const DEFAULT_DATABASE = 'meterd';

export interface ClickHouseConnection {
  /** `http://user:password@host:port/database`; user, password and database may be missing. */
  readonly url: string;
  /** Before the one that the URL names. */
  readonly database?: string;
  readonly connectionsMax?: number;
  /** How long ClickHouse may be silent, and with that how long a statement may run: see `ANSWER_MS`. */
  readonly requestTimeoutMs?: number;
}

const REQUEST_TIMEOUT_MS = 60_000;
/**
 * For work that no caller waits for, and that something else bounds. A statement says nothing until it has ended, and on a busy
 * machine that may take minutes: where it fails for its time, it fails at each try.
 */
export const PATIENT_TIMEOUT_MS = 600_000;
/** ClickHouse has so long to say that it has ended a statement for its time: one that says nothing is taken for away. */
const ANSWER_MS = 5_000;
const CONNECTIONS_MAX = 16;
/** Below the server's own keep-alive time, of 3 s in old versions: a socket that it is just closing fails its next request. */
const IDLE_SOCKET_TTL_MS = 2_500;

/**
 * A client over HTTP; it connects when it is used. In JSON formats 64-bit and larger integers are strings, both ways, and times are ISO
 * 8601 in UTC (`2026-01-31T00:00:00Z`).
 */
export function connectClickHouse(connection: ClickHouseConnection): ClickHouseClient {
  const url = new URL(connection.url);
  url.pathname = '/';
  const requestTimeoutMs = connection.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
  return createClient({
    url,
    database: databaseOf(connection),
    application: 'meterd',
    // Whoever calls is told of every error, and logs it.
    log: { level: ClickHouseLogLevel.OFF },
    request_timeout: requestTimeoutMs,
    max_open_connections: connection.connectionsMax ?? CONNECTIONS_MAX,
    keep_alive: { enabled: true, idle_socket_ttl: IDLE_SOCKET_TTL_MS, eagerly_destroy_stale_sockets: true },
    compression: { request: false, response: false },
    clickhouse_settings: {
      output_format_json_quote_64bit_integers: 1,
      date_time_output_format: 'iso',
      date_time_input_format: 'best_effort',
      session_timezone: 'UTC',
      // An insert is acknowledged when it is in a part on disk, not when it is in a buffer.
      async_insert: 0,
      // The status is sent after the query has ended, so that an error in its middle is an error and no shorter result.
      wait_end_of_query: 1,
      // A query whose caller has left or given up ends too.
      cancel_http_readonly_queries_on_client_close: 1,
      max_execution_time: Math.max(1, Math.floor((requestTimeoutMs - ANSWER_MS) / 1000)),
    },
  });
}

/** The database that a connection means. */
export function databaseOf({ url, database }: ClickHouseConnection): string {
  return database ?? (decodeURIComponent(new URL(url).pathname.slice(1)) || DEFAULT_DATABASE);
}
