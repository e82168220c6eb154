import { type Kysely, sql } from 'kysely';

/** Keys whose holder proves by a client certificate who it is, and has no secret. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}

const STATEMENTS = [
  `ALTER TABLE api_keys ADD COLUMN spiffe_id text, ALTER COLUMN secret_hash DROP NOT NULL`,
  `ALTER TABLE api_keys ADD CONSTRAINT api_keys_proof CHECK ((secret_hash IS NULL) <> (spiffe_id IS NULL)),
     ADD CONSTRAINT api_keys_of_hosts CHECK (spiffe_id IS NULL OR role = 'collector')`,
  `CREATE UNIQUE INDEX api_keys_by_spiffe_id ON api_keys (spiffe_id) WHERE revoked_at IS NULL`,
];
