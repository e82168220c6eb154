import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { codeOf } from '../lib/failure.ts';
import { type BackupFile, checkFile, syncFolders, writeSmall } from './folder.ts';

/** What a backup says of itself: what is in it, of which schemas, and what each file has to be. */

const MANIFEST = 'manifest.json';
/** As `sha256sum` writes it, and reads it with `-c`. Written last: a backup without it was cut short. */
const MANIFEST_HASH = 'manifest.json.sha256';
const FORMAT = 1;

const whole = z.int().min(0);
/** Digits: it may be greater than a number can hold. */
const integer = z.string().regex(/^\d+$/);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
/** Below the folder, and nowhere else. */
const name = z.string().regex(/^(postgres|clickhouse|quarantine)\/[A-Za-z0-9_][A-Za-z0-9_.-]*\.zst$/);
/** Below the data folder. */
const original = z.string().regex(/^(spool\/)?quarantine\/[A-Za-z0-9_][A-Za-z0-9_.-]*$/);
const file = z.strictObject({ name, bytes: whole, sha256 });

const manifestSchema = z.strictObject({
  format: z.literal(FORMAT),
  takenAt: z.iso.datetime(),
  auditHead: z.strictObject({ sequence: integer, hash: sha256 }),
  postgres: z.strictObject({
    migrations: z.array(z.string()),
    files: z.array(file.extend({ table: z.string(), columns: z.array(z.string()), rows: whole })),
  }),
  clickhouse: z.strictObject({
    migrations: z.array(z.string()),
    files: z.array(
      file.extend({
        table: z.string(),
        partition: z.string(),
        rows: whole,
        /** Sum of the hashes of its rows, modulo 2^64; of those that go by themselves after a time there is none. */
        fingerprint: integer.optional(),
      }),
    ),
  }),
  quarantine: z.strictObject({ files: z.array(file.extend({ original })) }),
});

export type Manifest = z.output<typeof manifestSchema>;
export type PostgresFile = Manifest['postgres']['files'][number];
export type ClickHouseFile = Manifest['clickhouse']['files'][number];
export type QuarantineFile = Manifest['quarantine']['files'][number];

/** Every file but the manifest's own. */
export function filesOf(manifest: Manifest): BackupFile[] {
  return [...manifest.postgres.files, ...manifest.clickhouse.files, ...manifest.quarantine.files];
}

/** Rows of tables. */
export function rowsOf({ postgres, clickhouse }: Manifest): number {
  return [...postgres.files, ...clickhouse.files].reduce((sum, { rows }) => sum + rows, 0);
}

/** Ends a backup: from here on it is one. @returns SHA-256 of the manifest, in hexadecimal */
export async function writeManifest(folder: string, manifest: Omit<Manifest, 'format'>): Promise<string> {
  const text = `${JSON.stringify({ format: FORMAT, ...manifest }, undefined, 2)}\n`;
  const hash = createHash('sha256').update(text).digest('hex');
  await writeSmall(folder, MANIFEST, text);
  await syncFolders(folder);
  await writeSmall(folder, MANIFEST_HASH, `${hash}  ${MANIFEST}\n`);
  await syncFolders(folder);
  return hash;
}

/**
 * Reads the manifest and then every file.
 * @throws Error that names the file which is missing or is not what was written
 */
export async function readManifest(folder: string): Promise<Manifest> {
  const said = await readText(folder, MANIFEST_HASH);
  const text = await readText(folder, MANIFEST);
  if (said !== `${createHash('sha256').update(text).digest('hex')}  ${MANIFEST}\n`) {
    throw new Error(`the backup is damaged: ${MANIFEST} and ${MANIFEST_HASH} do not belong together`);
  }
  const parsed = manifestSchema.safeParse(JSON.parse(text));
  if (!parsed.success) {
    throw new Error(`${MANIFEST} is none that this version reads (format ${FORMAT}): ${z.prettifyError(parsed.error)}`);
  }
  for (const each of filesOf(parsed.data)) await checkFile(folder, each);
  return parsed.data;
}

async function readText(folder: string, which: string): Promise<string> {
  return readFile(join(folder, which), 'utf8').catch((reason: unknown) => {
    if (codeOf(reason) !== 'ENOENT') throw reason;
    throw new Error(`${folder} is no whole backup: ${which} is missing`);
  });
}
