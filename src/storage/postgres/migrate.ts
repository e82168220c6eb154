import { type Migration, Migrator } from 'kysely/migration';
import { codeOf, messageOf } from '../../lib/failure.ts';
import { retry, type RetryOptions } from '../../lib/retry.ts';
import { connectPostgres } from './client.ts';
import { up as control } from './migrations/0001-control.ts';
import { up as billing } from './migrations/0002-billing.ts';
import { up as money } from './migrations/0003-money.ts';
import { up as oneWay } from './migrations/0004-one-way.ts';
import { up as emptyPeriods } from './migrations/0005-empty-periods.ts';
import { up as hostCertificates } from './migrations/0006-host-certificates.ts';
import { up as secrets } from './migrations/0007-secrets.ts';
import { up as customerReads } from './migrations/0008-customer-reads.ts';

/** The migrations by name. They are applied in the order of their names, forward only, and none is ever changed. */
export const POSTGRES_MIGRATIONS: Readonly<Record<string, Migration>> = {
  '0001-control': { up: control },
  '0002-billing': { up: billing },
  '0003-money': { up: money },
  '0004-one-way': { up: oneWay },
  '0005-empty-periods': { up: emptyPeriods },
  '0006-host-certificates': { up: hostCertificates },
  '0007-secrets': { up: secrets },
  '0008-customer-reads': { up: customerReads },
};

/** A migration may rewrite a large table. */
const STATEMENT_TIMEOUT_MS = 600_000;

/**
 * Applies what is missing, all of it or nothing. Several processes may do so at once: the migrator holds an advisory lock.
 * @returns the names of the migrations that were applied
 * @throws Error where the database was made by a newer meterd, and where a migration fails
 */
export async function migratePostgres(url: string, migrations = POSTGRES_MIGRATIONS): Promise<string[]> {
  const postgres = connectPostgres(url, { connectionsMax: 2, statementTimeoutMs: STATEMENT_TIMEOUT_MS });
  try {
    const migrator = new Migrator({ db: postgres.db, provider: { getMigrations: async () => ({ ...migrations }) } });
    return await retry(() => applyMissing(migrator), ROLE_MADE_MEANWHILE);
  } finally {
    await postgres.close();
  }
}

/** Roles are the whole server's: a meterd that starts on another of its databases may make the same one at the same moment. */
const ROLE_MADE_MEANWHILE: RetryOptions = {
  attemptsMax: 5,
  delayMs: 100,
  delayMsMax: 1_000,
  retryable: (reason) => reason instanceof Error && ROLE_ERRORS.has(codeOf(reason.cause)),
};
/**
 * `unique_violation`, `duplicate_object`; and `undefined_object`, where a query sees the new role already and this connection's cache of
 * the catalog does not.
 */
const ROLE_ERRORS: ReadonlySet<unknown> = new Set(['23505', '42710', '42704']);

async function applyMissing(migrator: Migrator): Promise<string[]> {
  const { error, results = [] } = await migrator.migrateToLatest();
  if (error !== undefined) throw failure(error, results.find((result) => result.status === 'Error')?.migrationName);
  return results.map((result) => result.migrationName);
}

function failure(cause: unknown, migration: string | undefined): Error {
  const message = messageOf(cause);
  if (migration !== undefined) return new Error(`Postgres migration ${migration}: ${message}`, { cause });
  if (message.includes('previously executed migration')) {
    return new Error(`the Postgres database was made by another, newer meterd: ${message}`, { cause });
  }
  return new Error(`Postgres migrations: ${message}`, { cause });
}
