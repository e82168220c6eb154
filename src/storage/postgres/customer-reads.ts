import { Kysely, PostgresDialect, type PostgresPool, type PostgresPoolClient } from 'kysely';
import { escapeLiteral } from 'pg';
import type { Database } from './schema.ts';

/**
 * Postgres as one customer may read it: each statement runs in a read-only transaction of its own, as the role
 * `meterd_customer`, to which the policies of migration `0008-customer-reads` show this customer's rows. What is asked for
 * outside of them is as if it were not there, whatever the statement says.
 *
 * Role and customer are those of the transaction, so a connection goes back to the pool as it came. One whose transaction cannot be
 * ended is closed instead.
 */
export function customerReads(pool: PostgresPool, customerId: string): Kysely<Database> {
  const ofCustomer: PostgresPool = {
    connect: async () => begin(await pool.connect(), customerId),
    // The pool is everybody's, and is closed by who opened it.
    end: async () => undefined,
    options: pool.options,
  };
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool: ofCustomer }) });
}

async function begin(client: PostgresPoolClient, customerId: string): Promise<PostgresPoolClient> {
  const customer = escapeLiteral(customerId);
  try {
    const first = `BEGIN READ ONLY; SET LOCAL ROLE meterd_customer; SET LOCAL meterd.customer_id = ${customer}`;
    await client.query(first, []);
  } catch (reason) {
    client.release(true);
    throw reason;
  }
  return {
    query: client.query.bind(client),
    release: () => {
      client.query('ROLLBACK', []).then(
        () => client.release(),
        () => client.release(true),
      );
    },
  };
}
