import { readFile, readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

/**
 * While versions are replaced one process after the other, the old one reads and writes what the new one has migrated. So a
 * migration only adds: `docs/operations.md`, "A new version".
 */
const BREAKS_OLDER =
  /\bDROP\s+(TABLE|COLUMN|VIEW|FUNCTION|TRIGGER)\b|\bRENAME\b|\bALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE\b|\bSET\s+NOT\s+NULL\b|\bMODIFY\s+(COLUMN|ORDER\s+BY)\b|\bEXCHANGE\s+TABLES\b|\bTRUNCATE\s+TABLE\b/gi;
/** A row that an older version inserts does not have the column. */
const NEEDS_VALUE = /\bADD\s+COLUMN\b(?![^,;]*\bDEFAULT\b)[^,;]*\bNOT\s+NULL\b/gi;

/** These are older than the first release: nothing that reads what they took away was ever released. */
const BEFORE_RELEASES = ['0004-one-way.ts: SET NOT NULL', '0004-one-way.ts: DROP TABLE', '0004-one-way.ts: DROP TABLE'];

const FOLDERS = ['postgres', 'clickhouse'].map((engine) =>
  fileURLToPath(new URL(`../../src/storage/${engine}/migrations/`, import.meta.url)),
);

function offences(file: string, text: string): string[] {
  const statements = text.replaceAll(/^\s*(--|\/\/|\*).*$/gm, '');
  const found = [BREAKS_OLDER, NEEDS_VALUE].flatMap((pattern) => [...statements.matchAll(pattern)]);
  return found.map(([words]) => `${file}: ${words.replaceAll(/\s+/g, ' ')}`);
}

it('migrations only add, from the first release on', async () => {
  const found: string[] = [];
  for (const folder of FOLDERS) {
    for (const file of (await readdir(folder)).toSorted()) {
      found.push(...offences(file, await readFile(folder + file, 'utf8')));
    }
  }
  expect(found).toEqual(BEFORE_RELEASES);
});

it.each([
  'ALTER TABLE invoices DROP COLUMN total',
  'ALTER TABLE invoices RENAME COLUMN total TO sum',
  'ALTER TABLE invoices ALTER COLUMN total TYPE text',
  'ALTER TABLE invoices ALTER COLUMN total SET NOT NULL',
  'ALTER TABLE invoices ADD COLUMN kind text NOT NULL',
  'ALTER TABLE windows MODIFY COLUMN sequence UInt32',
  'RENAME TABLE windows TO old_windows',
  'DROP TABLE windows',
])('the check sees %s', (statement) => {
  expect(offences('x.sql', statement)).not.toEqual([]);
});

it.each([
  "ALTER TABLE invoices ADD COLUMN kind text NOT NULL DEFAULT ''",
  'ALTER TABLE invoices ADD COLUMN kind text',
  'ALTER TABLE windows ADD COLUMN IF NOT EXISTS kind UInt8 DEFAULT 0',
  '-- A row that we DROP TABLE of in a comment',
])('the check lets %s pass', (statement) => {
  expect(offences('x.sql', statement)).toEqual([]);
});
