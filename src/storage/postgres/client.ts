import { Kysely, PostgresDialect, type PostgresPool } from 'kysely';
import { Client, Pool, type PoolConfig, TypeOverrides, types } from 'pg';
import type { CircuitChange } from '../../lib/circuit-breaker.ts';
import { engineBreaker } from '../engine-away.ts';
import { guardedPool } from './guarded-pool.ts';
import type { Database } from './schema.ts';

/** A connected Postgres. Connections are opened as they are needed, so this waits for nothing. */
export interface Postgres {
  readonly pool: Pool;
  /** The pool's connections while PostgreSQL answers, and none while it does not. `db` takes its own from here. */
  readonly guarded: PostgresPool;
  readonly db: Kysely<Database>;
  /** Waits for the connections that are in use, and closes them all. */
  close(): Promise<void>;
}

export interface PostgresLimits {
  readonly connectionsMax?: number;
  /** How long one statement may run; Postgres then ends it, and is away where it does not. */
  readonly statementTimeoutMs?: number;
  /** Told of a connection that broke while nobody used it; the pool opens another. */
  readonly onIdleError?: (error: Error) => void;
  /** Told when Postgres goes away and when it is back. */
  readonly onCircuit?: (change: CircuitChange) => void;
}

/** How long a caller waits for a connection: for a free one of the pool, and for the server to answer. */
const CONNECT_TIMEOUT_MS = 5_000;
/** A transaction that does nothing holds locks and keeps old rows alive. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 60_000;
/** What Postgres has to say so when it has ended a statement. */
const ANSWER_MS = 5_000;
const END_MS_MAX = 5_000;

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
  const guarded = guardedPool(pool, engineBreaker('PostgreSQL', limits.onCircuit ?? (() => undefined)));
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool: guarded }) });
  return { pool, guarded, db, close: () => closeAll(pool, db) };
}

/**
 * A connection to the same Postgres that is none of the pool's. That it breaks fails the statement under way.
 * @param statementTimeoutMs for each of its statements
 */
export async function ownConnection(pool: Pool, statementTimeoutMs: number, more: PoolConfig = {}): Promise<Client> {
  const client = new Client({ ...pool.options, ...timeouts(statementTimeoutMs), ...more });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** Ends a connection of one's own; one that Postgres does not let go of is cut. */
export async function endConnection(client: Client): Promise<void> {
  const cut = setTimeout(() => client.connection.stream.destroy(), END_MS_MAX);
  try {
    await client.end();
  } finally {
    clearTimeout(cut);
  }
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
    ...timeouts(statementTimeoutMs),
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    keepAlive: true,
    types: columnTypes(),
  };
}

/** Postgres ends a statement at its time; one that is not ended then is not waited for any longer. */
function timeouts(statementTimeoutMs: number): PoolConfig {
  return { statement_timeout: statementTimeoutMs, query_timeout: statementTimeoutMs + ANSWER_MS };
}

function columnTypes(): TypeOverrides {
  const overrides = new TypeOverrides();
  for (const oid of [types.builtins.INT8, types.builtins.NUMERIC, types.builtins.DATE, types.builtins.TIMESTAMP]) {
    overrides.setTypeParser(oid, (value: string) => value);
  }
  return overrides;
}
