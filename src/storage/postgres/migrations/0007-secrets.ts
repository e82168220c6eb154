import { type Kysely, sql } from 'kysely';

/** Secrets that meterd needs to act elsewhere. Nothing here opens without the keys, which the database never has. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    CREATE TABLE secrets (
      customer_id text COLLATE "C" NOT NULL,
      name text COLLATE "C" NOT NULL CHECK (name <> ''),
      ciphertext bytea NOT NULL,
      wrapped_key bytea NOT NULL,
      wrapping_key_id text NOT NULL,
      put_at timestamptz NOT NULL,
      put_by text NOT NULL,
      PRIMARY KEY (customer_id, name)
    )`.execute(db);
  await sql`COMMENT ON COLUMN secrets.customer_id IS 'Empty: meterd''s own.'`.execute(db);
}
