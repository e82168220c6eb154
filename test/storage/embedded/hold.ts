/** `hold.ts WHAT FOLDER`: takes it, says so in one line, and keeps it until this process is killed. */
import { startClickHouse } from '../../../src/storage/embedded/clickhouse.ts';
import { lockDataFolder } from '../../../src/storage/embedded/data-lock.ts';
import { startPostgres } from '../../../src/storage/embedded/postgres.ts';

const [what, folder = ''] = process.argv.slice(2);
const options = { folder, readyTimeoutMs: 20_000, onLog: () => undefined };

const takers: Readonly<Record<string, () => Promise<string>>> = {
  'data-lock': async () => {
    lockDataFolder(folder);
    return 'locked';
  },
  clickhouse: async () => (await startClickHouse(options)).url,
  postgres: async () => (await startPostgres(options)).url,
};

console.log(await takers[what ?? '']?.());
// At the latest when the test is gone, so that one that fails leaves nothing running.
process.stdin.once('end', () => process.exit()).resume();
