import type { ClickHouseClient } from '@clickhouse/client';
import type { Client, Pool } from 'pg';
import type { Kysely } from 'kysely';
import { appendAudit } from '../audit/trail.ts';
import type { Clock } from '../lib/clock.ts';
import { CallerFault, NotNow } from '../lib/failure.ts';
import { tryAdvisoryLock, withAdvisoryLock } from '../storage/postgres/advisory-lock.ts';
import { endConnection, ownConnection } from '../storage/postgres/client.ts';
import { connectClickHouse } from '../storage/clickhouse/client.ts';
import type { Database } from '../storage/postgres/schema.ts';
import * as clickhouseCopy from './clickhouse-copy.ts';
import { makeFolder, removeContents } from './folder.ts';
import { type ClickHouseFile, filesOf, type Manifest, type PostgresFile, rowsOf, writeManifest } from './manifest.ts';
import * as postgresCopy from './postgres-copy.ts';
import * as quarantineCopy from './quarantine-copy.ts';

/** What backups are made from. */
export interface BackupStore {
  readonly clickhouseUrl: string;
  readonly pool: Pool;
  readonly db: Kysely<Database>;
  readonly clock: Clock;
  /** Of this process: what lies in quarantine there is copied too. */
  readonly dataDir: string;
  /** Waits until what this process has acknowledged is stored. */
  readonly settle: (signal: AbortSignal) => Promise<void>;
}

export interface BackupRequest {
  /** Absolute. */
  readonly folder: string;
  /** Who asks for it, for the audit trail. */
  readonly actor: string;
  readonly onProgress: (progress: BackupProgress) => void;
  readonly signal: AbortSignal;
}

export interface BackupProgress {
  readonly filesWritten: number;
  readonly files: number;
}

/** A backup that was made. */
export interface Backup {
  readonly folder: string;
  readonly takenAt: Date;
  readonly rows: number;
  readonly bytes: number;
  /** SHA-256, in hexadecimal. */
  readonly manifestHash: string;
}

/** A frozen moment of both engines. */
interface Moment {
  readonly client: Client;
  readonly clickhouse: ClickHouseClient;
  readonly takenAt: Date;
  readonly tables: readonly postgresCopy.PostgresTable[];
  readonly parts: readonly clickhouseCopy.FrozenPart[];
  readonly auditHead: Manifest['auditHead'];
}

const BACKUP_LOCK = 'meterd.backup';
/** The jobs' locks, as the scheduler takes them, and how long each may run. */
const RETENTION_LOCK = 'meterd.job.retention';
const ROLLUP_LOCK = 'meterd.job.rollup';
const JOB_MS_MAX = 900_000;
/** Of one table or month. */
const STATEMENT_TIMEOUT_MS = 3_600_000;
const SETTLE_MS_MAX = 300_000;
const RETRY_MS = 60_000;

/**
 * Writes a backup: what was acknowledged before the call, and with it everything that the ledger rests on. PostgreSQL's moment
 * comes first, so that ClickHouse knows at least what each invoice of it was computed from. What is in the folder is no
 * backup before the call has returned.
 * @throws CallerFault invalid_argument, failed_precondition, aborted; NotNow where a customer is erased meanwhile, and where
 *   ClickHouse is away; what the engines and the disk report; the signal's reason. What was written by then is removed
 */
export async function createBackup(store: BackupStore, request: BackupRequest): Promise<Backup> {
  const locked = await tryAdvisoryLock(store.pool, BACKUP_LOCK, async (lost) => {
    const signal = AbortSignal.any([request.signal, lost]);
    await makeFolder(request.folder);
    try {
      return await writeBackup(store, { ...request, signal });
    } catch (reason) {
      await removeContents(request.folder);
      throw reason;
    }
  });
  if (!locked.held) throw new CallerFault('aborted', '', 'a backup is running already');
  return locked.result;
}

async function writeBackup(store: BackupStore, request: BackupRequest): Promise<Backup> {
  const { db, clock, dataDir, settle } = store;
  const { folder, actor, signal } = request;
  await settleInTime(settle, signal);
  const clickhouse = connectClickHouse({ url: store.clickhouseUrl, requestTimeoutMs: STATEMENT_TIMEOUT_MS });
  const client = await ownConnection(store.pool, STATEMENT_TIMEOUT_MS, {
    idle_in_transaction_session_timeout: STATEMENT_TIMEOUT_MS,
    // The driver would count a copy as unanswered until its end. The call's signal ends what takes too long.
    query_timeout: 0,
  });
  try {
    const moment = await freeze(store, { client, clickhouse, signal });
    const manifest = {
      takenAt: moment.takenAt.toISOString(),
      auditHead: moment.auditHead,
      ...(await writeTables(moment, request)),
      quarantine: { files: await quarantineCopy.copyOut(dataDir, folder, signal) },
    };
    const manifestHash = await writeManifest(folder, manifest);
    const bytes = filesOf({ format: 1, ...manifest }).reduce((sum, file) => sum + file.bytes, 0);
    const backup = { folder, takenAt: moment.takenAt, rows: rowsOf({ format: 1, ...manifest }), bytes, manifestHash };
    await db.transaction().execute((transaction) => {
      const detail = { manifest_hash: manifestHash, taken_at: manifest.takenAt };
      return appendAudit(transaction, {
        at: new Date(clock.nowMs()),
        actor,
        action: 'backup.created',
        subject: folder,
        detail,
      });
    });
    return backup;
  } finally {
    await endConnection(client);
    // Where ClickHouse is away, why the backup failed counts; the next one removes what is left.
    await clickhouseCopy.dropFrozen(clickhouse).catch(() => undefined);
    await clickhouse.close();
  }
}

/** @throws NotNow where ClickHouse does not take in time what was acknowledged; the signal's reason */
async function settleInTime(settle: BackupStore['settle'], signal: AbortSignal): Promise<void> {
  const timeout = AbortSignal.timeout(SETTLE_MS_MAX);
  try {
    await settle(AbortSignal.any([signal, timeout]));
  } catch (reason) {
    if (!timeout.aborted) throw reason;
    const message = `what was acknowledged is not in ClickHouse within ${SETTLE_MS_MAX / 1000} s: try again when it is back`;
    throw new NotNow('unavailable', RETRY_MS, message);
  }
}

/**
 * Takes both moments while neither the rollup nor retention runs, which takes well under a second once those that run have
 * ended: an hour that is touched here is not yet computed there, and no window of an invoice is gone.
 */
async function freeze(
  { pool, clock }: BackupStore,
  { client, clickhouse, signal }: { client: Client; clickhouse: ClickHouseClient; signal: AbortSignal },
): Promise<Moment> {
  const take = async (): Promise<Moment> => {
    signal.throwIfAborted();
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const tables = await postgresCopy.listTables(client);
    const auditHead = await readAuditHead(client);
    const erasures = await countErasures(client);
    const takenAt = new Date(clock.nowMs());
    const frozen = await clickhouseCopy.freezeTables(clickhouse, signal);
    // The trail of this backup ends at its head; what was anchored since would look like a tail that was cut off.
    await clickhouse.command({
      query: 'DELETE FROM backup_of_audit_anchors WHERE sequence > {head:UInt64}',
      query_params: { head: auditHead.sequence },
    });
    if ((await countErasures(pool)) !== erasures) {
      throw new NotNow('unavailable', RETRY_MS, 'a customer was erased meanwhile: try again');
    }
    return {
      client,
      clickhouse,
      takenAt,
      tables,
      parts: await clickhouseCopy.partsOf(clickhouse, frozen),
      auditHead,
    };
  };
  const withoutRollup = (): Promise<Moment> => withAdvisoryLock(pool, ROLLUP_LOCK, take, JOB_MS_MAX);
  return withAdvisoryLock(pool, RETENTION_LOCK, withoutRollup, JOB_MS_MAX);
}

async function writeTables(
  { client, clickhouse, tables, parts }: Moment,
  { folder, signal, onProgress }: BackupRequest,
): Promise<Pick<Manifest, 'postgres' | 'clickhouse'>> {
  const files = tables.length + parts.length;
  let filesWritten = 0;
  const postgresFiles: PostgresFile[] = [];
  for (const table of tables) {
    postgresFiles.push(await postgresCopy.copyOut(client, table, folder, signal));
    onProgress({ filesWritten: ++filesWritten, files });
  }
  const postgres = { migrations: await postgresCopy.readMigrationNames(client), files: postgresFiles };
  await client.query('COMMIT');
  const clickhouseFiles: ClickHouseFile[] = [];
  for (const part of parts) {
    const written = await clickhouseCopy.copyOut(clickhouse, part, folder, signal);
    if (written !== undefined) clickhouseFiles.push(written);
    onProgress({ filesWritten: ++filesWritten, files });
  }
  const migrations = await clickhouseCopy.readMigrationNames(clickhouse);
  return { postgres, clickhouse: { migrations, files: clickhouseFiles } };
}

async function readAuditHead(client: Client): Promise<Manifest['auditHead']> {
  const { rows } = await client.query<{ sequence: string; hash: string }>(
    `SELECT sequence, encode(hash, 'hex') AS hash FROM audit_head`,
  );
  const [head] = rows;
  if (head === undefined) throw new Error('the head of the audit trail is missing: look into that first');
  return head;
}

/** Begun and completed ones: a number that changes with every step of an erasure. */
async function countErasures(client: Client | Pool): Promise<number> {
  const { rows } = await client.query<{ steps: string }>(
    'SELECT count(*) + count(completed_at) AS steps FROM erasures',
  );
  return Number(rows[0]?.steps);
}
