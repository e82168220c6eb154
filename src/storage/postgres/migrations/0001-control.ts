import { type Kysely, sql } from 'kysely';

/** Keys, job runs, and the audit chain. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    CREATE TABLE api_keys (
      id text PRIMARY KEY,
      name text NOT NULL,
      role text NOT NULL CHECK (role IN ('collector', 'customer', 'operator', 'admin')),
      secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
      regions text[] NOT NULL,
      customer_ids text[] NOT NULL,
      backfill boolean NOT NULL,
      created_at timestamptz NOT NULL,
      revoked_at timestamptz
    )`.execute(db);
  await sql`
    CREATE TABLE job_runs (
      id uuid PRIMARY KEY,
      job text NOT NULL,
      period text NOT NULL,
      started_at timestamptz NOT NULL,
      ended_at timestamptz,
      outcome text NOT NULL CHECK (outcome IN ('running', 'succeeded', 'failed')),
      detail text NOT NULL,
      CHECK ((outcome = 'running') = (ended_at IS NULL))
    )`.execute(db);
  await sql`CREATE INDEX job_runs_by_job ON job_runs (job, started_at DESC)`.execute(db);
  await sql`
    CREATE TABLE audit_records (
      sequence bigint PRIMARY KEY CHECK (sequence > 0),
      at timestamptz NOT NULL,
      actor text NOT NULL,
      action text NOT NULL,
      subject text NOT NULL,
      detail text NOT NULL,
      previous_hash bytea NOT NULL,
      hash bytea NOT NULL
    )`.execute(db);
}
