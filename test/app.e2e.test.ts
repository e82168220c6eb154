import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { createPostgresDatabase, newClickHouseUrl } from './database.ts';
import { folderForTest } from './meterd.ts';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));
/** What is still there by then hangs; it is killed, and the test has failed. */
const HUNG_MS = 60_000;

const dataDir = await folderForTest();

it('ends with status 1 where its spool cannot be opened, so that whoever started it knows', async () => {
  await writeFile(join(dataDir, 'spool'), 'a file where a folder should be');
  const environment = {
    METERD_LISTEN: '127.0.0.1:0',
    METERD_DATA_DIR: dataDir,
    CLICKHOUSE_URL: newClickHouseUrl(),
    DATABASE_URL: await createPostgresDatabase(),
  };
  const options = { env: { ...process.env, ...environment }, timeout: HUNG_MS, killSignal: 'SIGKILL' } as const;
  await expect(promisify(execFile)(process.execPath, [MAIN], options)).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining('meterd could not start: EEXIST'),
  });
});
