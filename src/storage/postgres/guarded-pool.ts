import type { PostgresCursor, PostgresPool, PostgresPoolClient, PostgresQueryResult } from 'kysely';
import type { Pool, PoolClient } from 'pg';
import type { CircuitBreaker } from '../../lib/circuit-breaker.ts';
import { messageOf } from '../../lib/failure.ts';
import { NOT_ANSWERED } from '../engine-away.ts';

/** The pool's connections, as long as PostgreSQL answers: where it does not, nobody waits for one. */
export function guardedPool(pool: Pool, breaker: CircuitBreaker): PostgresPool {
  return {
    options: pool.options,
    connect: async () => new AnsweringClient(await breaker.run(() => pool.connect())),
    end: () => pool.end(),
  };
}

/**
 * A connection that ends with the first statement that is not answered in time. Whatever was asked next, the end of the
 * transaction and the next caller's statements with it, would wait for that answer first.
 */
class AnsweringClient implements PostgresPoolClient {
  readonly #client: PoolClient;
  readonly #asked: PostgresPoolClient;

  constructor(client: PoolClient) {
    this.#client = client;
    this.#asked = client;
  }

  query<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>>;
  query<R>(cursor: PostgresCursor<R>): PostgresCursor<R>;
  query<R>(
    asked: string | PostgresCursor<R>,
    parameters: readonly unknown[] = [],
  ): Promise<PostgresQueryResult<R>> | PostgresCursor<R> {
    if (typeof asked !== 'string') return this.#asked.query(asked);
    return this.#asked.query<R>(asked, parameters).catch((reason: unknown) => {
      if (messageOf(reason) === NOT_ANSWERED) this.#client.connection.stream.destroy();
      throw reason;
    });
  }

  release(destroy?: boolean): void {
    this.#client.release(destroy);
  }
}
