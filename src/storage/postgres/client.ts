import { Kysely, PostgresDialect } from 'kysely';
import { Pool, type PoolConfig, TypeOverrides, types } from 'pg';
import type { Database } from './schema.ts';

/** A connected Postgres. Connections are opened as they are needed, so this waits for nothing. */
export interface Postgres {
  readonly pool: Pool;
  readonly db: Kysely<Database>;
  /** Waits for the connections that are in use, and closes them all. */
  close(): Promise<void>;
}

export interface PostgresLimits {
  readonly connectionsMax?: number;
  /** How long one statement may run; Postgres then ends it. */
  readonly statementTimeoutMs?: number;
  /** Told of a connection that broke while nobody used it; the pool opens another. */
  readonly onIdleError?: (error: Error) => void;
}

/** How long a caller waits for a connection: for a free one of the pool, and for the server to answer. */
const CONNECT_TIMEOUT_MS = 5_000;
/** A transaction that does nothing holds locks and keeps old rows alive. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 60_000;

/**
 * Connects to a `postgresql://` URL.
 *
 * What columns are read as: `bigint` and `numeric` are strings, since a `number` would round them; `timestamptz` is a `Date`;
 * `date` and `timestamp`, which name no instant, are strings (the driver would read them in the zone of this process);
 * `bytea` is a `Buffer`; arrays are arrays.
 */
export function connectPostgres(url: string, limits: PostgresLimits = {}): Postgres {
  const pool = new Pool({
    ...connectionConfig(url, limits.statementTimeoutMs ?? 30_000),
    max: limits.connectionsMax ?? 10,
  });
  // Without a listener such an error would end the process. Nobody waits for that connection, so no work has failed; and where the
  // pool is being closed, the server may well be going, too.
  pool.on('error', (reason) => {
    if (!pool.ending) limits.onIdleError?.(reason);
  });
  // The same for a connection in use: its statement fails with the error, and that is told to whoever waits for it.
  pool.on('connect', (client) => void client.on('error', () => undefined));
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
  return { pool, db, close: () => closeAll(pool, db) };
}

/** Kysely ends the pool, but only where it was used through Kysely. */
async function closeAll(pool: Pool, db: Kysely<Database>): Promise<void> {
  await db.destroy();
  if (!pool.ending) await pool.end();
}

/** What a connection is opened with, in a pool or alone. */
function connectionConfig(url: string, statementTimeoutMs: number): PoolConfig {
  return {
    connectionString: url,
    application_name: 'meterd',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    keepAlive: true,
    types: columnTypes(),
  };
}

function columnTypes(): TypeOverrides {
  const overrides = new TypeOverrides();
  for (const oid of [types.builtins.INT8, types.builtins.NUMERIC, types.builtins.DATE, types.builtins.TIMESTAMP]) {
    overrides.setTypeParser(oid, (value: string) => value);
  }
  return overrides;
}
