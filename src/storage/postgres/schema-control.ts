import type { ColumnType, Generated, Selectable } from 'kysely';

/** Keys, secrets, job runs, audit: the tables of migrations `0001-control` and `0007-secrets`. */
export interface ControlTables {
  api_keys: ApiKeysTable;
  job_runs: JobRunsTable;
  audit_records: AuditRecordsTable;
  secrets: SecretsTable;
}

interface ApiKeysTable {
  id: string;
  name: string;
  role: 'collector' | 'customer' | 'operator' | 'admin';
  /** SHA-256 of the secret; null where a certificate with `spiffe_id` stands in for it. */
  secret_hash: Buffer | null;
  spiffe_id: string | null;
  /** Empty: all of them. */
  regions: string[];
  /** Empty: all of them. */
  customer_ids: string[];
  backfill: boolean;
  created_at: Date;
  revoked_at: Date | null;
  /** How the counters count that it sends by billaged.v1; null: it may not. */
  billaged_counters: Generated<'delta' | 'cumulative' | null>;
}

interface JobRunsTable {
  /** A UUID. */
  id: string;
  job: string;
  period: string;
  started_at: Date;
  ended_at: Date | null;
  outcome: 'running' | 'succeeded' | 'failed';
  detail: string;
}

export interface AuditRecordsTable {
  /** From 1, without gaps. */
  sequence: ColumnType<string, string | bigint, never>;
  at: ColumnType<Date, Date, never>;
  actor: ColumnType<string, string, never>;
  action: ColumnType<string, string, never>;
  subject: ColumnType<string, string, never>;
  /** JSON, as the text that was hashed. */
  detail: ColumnType<string, string, never>;
  previous_hash: ColumnType<Buffer, Buffer, never>;
  hash: ColumnType<Buffer, Buffer, never>;
}

export interface SecretsTable {
  /** Empty: meterd's own. */
  customer_id: ColumnType<string, string, never>;
  name: ColumnType<string, string, never>;
  ciphertext: Buffer;
  wrapped_key: Buffer;
  wrapping_key_id: string;
  put_at: Date;
  /** The id of an API key. */
  put_by: string;
}

/** An API key as it is read. */
export type ApiKeyRow = Selectable<ApiKeysTable>;
