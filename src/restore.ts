import type { ClickHouseClient } from '@clickhouse/client';
import type { Kysely } from 'kysely';
import { readAnchors } from './audit/anchors.ts';
import { verifyAudit } from './audit/verify-audit.ts';
import { isEmpty } from './backup/folder.ts';
import { filesOf, type Manifest, readManifest, rowsOf } from './backup/manifest.ts';
import { restoreBackup } from './backup/restore-backup.ts';
import { type ProvingStore, verifyInvoice } from './billing/proof/verify-invoice.ts';
import { Progress } from './cli/progress.ts';
import { type Config, readConfig } from './config.ts';
import { systemClock } from './lib/clock.ts';
import { CallerFault, messageOf } from './lib/failure.ts';
import { connectClickHouse, PATIENT_TIMEOUT_MS } from './storage/clickhouse/client.ts';
import { lockDataFolder } from './storage/embedded/data-lock.ts';
import { type Engines, startEngines } from './storage/engines.ts';
import { connectPostgres } from './storage/postgres/client.ts';
import type { Database } from './storage/postgres/schema.ts';
import { rollUp } from './usage/rollup.ts';
import { UsageForBilling } from './usage/usage-for-billing.ts';

const PAGE_ROWS = 1000;

/**
 * `npm run restore -- FOLDER`: fills the engines, configured or embedded as for meterd, from a backup, and proves what is
 * then there: the audit trail and every final invoice. meterd must not run. Ends with 0 where all is proved, with 1 where
 * something is not, with 2 where nothing was restored or it was cut short.
 */
async function main(folder: string | undefined): Promise<void> {
  if (folder === undefined) throw new Error('usage: npm run restore -- FOLDER, the folder of a backup');
  const config = readConfig(process.env);
  if (Array.isArray(config)) {
    throw new Error(config.map(({ variable, allowed }) => `${variable} must be ${allowed}`).join('; '));
  }
  const manifest = await readManifest(folder);
  if (!(await isEmpty(config.dataDir))) {
    throw new Error(`METERD_DATA_DIR, ${config.dataDir}, is not empty: restore into a new folder`);
  }
  const lock = lockDataFolder(config.dataDir);
  try {
    const engines = await startEngines({ ...config, onLog: () => undefined });
    try {
      await restore(config, engines, manifest, folder);
      process.exitCode = (await prove(engines, manifest)) ? 0 : 1;
    } finally {
      await engines.stop();
    }
  } finally {
    lock.release();
  }
}

async function restore(config: Config, engines: Engines, manifest: Manifest, folder: string): Promise<void> {
  const progress = new Progress('Restoring files');
  const onProgress = (filesRead: number, files: number): void => progress.show(filesRead, files);
  try {
    await restoreBackup({ ...config, ...engines, onProgress }, manifest, folder);
  } catch (cause) {
    const advice = `Nothing of ${config.dataDir} or of the databases is to be used: remove what was restored`;
    throw new Error(`${messageOf(cause)}. ${advice}`, { cause });
  }
  const files = filesOf(manifest).length;
  process.stdout.write(`restored   ${rowsOf(manifest)} rows of ${files} files, as of ${manifest.takenAt}\n`);
}

/** Rolls up what was not yet, and proves the rest. @returns whether all holds */
async function prove(engines: Engines, manifest: Manifest): Promise<boolean> {
  const clickhouse = connectClickHouse({ url: engines.clickhouseUrl, requestTimeoutMs: PATIENT_TIMEOUT_MS });
  const postgres = connectPostgres(engines.databaseUrl);
  const { signal } = new AbortController();
  try {
    const { hours } = await rollUp({ clickhouse, clock: systemClock, signal });
    process.stdout.write(`rolled up  ${hours} hours\n`);
    const store = { db: postgres.db, clickhouse, clock: systemClock, usage: new UsageForBilling(clickhouse) };
    const isTrailIntact = await proveTrail(postgres.db, clickhouse, manifest, signal);
    return (await proveInvoices(store, signal)) && isTrailIntact;
  } finally {
    await postgres.close();
    await clickhouse.close();
  }
}

async function proveTrail(
  db: Kysely<Database>,
  clickhouse: ClickHouseClient,
  { auditHead }: Manifest,
  signal: AbortSignal,
): Promise<boolean> {
  const verdict = await verifyAudit(db, readAnchors(clickhouse, 1n, signal));
  const problem = verdict.intact ? differenceOf(verdict, auditHead) : `record ${verdict.sequence}: ${verdict.problem}`;
  const shown = problem ?? `${auditHead.sequence} records, intact`;
  process.stdout.write(`${problem === undefined ? 'holds     ' : 'DIFFERS   '} audit trail: ${shown}\n`);
  return problem === undefined;
}

function differenceOf(
  found: { readonly records: bigint; readonly headHash: Uint8Array },
  head: Manifest['auditHead'],
): string | undefined {
  const isHead =
    found.records.toString() === head.sequence && Buffer.from(found.headHash).toString('hex') === head.hash;
  return isHead ? undefined : `its head is not the one that was backed up`;
}

async function proveInvoices(store: ProvingStore, signal: AbortSignal): Promise<boolean> {
  const progress = new Progress('Proving invoices');
  const finals = store.db.selectFrom('invoices').where('state', 'in', ['final', 'paid']);
  const { count } = await finals.select((all) => all.fn.countAll<string>().as('count')).executeTakeFirstOrThrow();
  const page = finals.select('id').orderBy('id').limit(PAGE_ROWS);
  let [seen, proved] = [0, 0];
  for (
    let ids = await page.execute();
    ids.length > 0;
    ids = await page.where('id', '>', ids.at(-1)?.id ?? '').execute()
  ) {
    for (const { id } of ids) {
      const problem = await problemOf(store, id, signal);
      if (problem === undefined) proved++;
      else process.stdout.write(`DIFFERS    invoice ${id}: ${problem}\n`);
      progress.show(++seen, Number(count));
    }
  }
  const isAll = proved === seen;
  process.stdout.write(`${isAll ? 'holds     ' : 'DIFFERS   '} invoices: ${proved} of ${seen} proved\n`);
  return isAll;
}

async function problemOf(store: ProvingStore, invoiceId: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    const { steps } = await verifyInvoice(store, invoiceId, signal);
    const broken = steps.find(({ holds }) => !holds);
    return broken === undefined ? undefined : `${broken.name}: ${broken.detail}`;
  } catch (reason) {
    // An invoice that is older than stored inputs is told, not taken for proved.
    if (reason instanceof CallerFault) return reason.message;
    throw reason;
  }
}

try {
  await main(process.argv[2]);
} catch (reason) {
  process.stderr.write(`${messageOf(reason)}\n`);
  process.exitCode = 2;
}
