import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Client } from 'pg';
import { Random } from '../../bench/generator/random.ts';
import { checkStored } from '../check-stored.ts';
import { SendClient } from '../client.ts';
import { Fleet } from '../fleet.ts';
import { Load } from '../load.ts';
import { environmentOf } from '../preload.ts';
import { paced } from '../pace.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';
import { SendLog } from '../send-log.ts';
import { Totals } from '../totals.ts';

const WINDOWS_PER_BATCH = 20;
/** All that is sent is compared in the end: a full run must not make more than that can hold. */
const CALLS_PER_SECOND = 100;
const LANES = 2;
/** Where the clock jumps to, in seconds from the true time: two days either way, and what a change to summer time moves. */
const OFFSETS_S = [2 * 86_400, -2 * 86_400, -3 * 3600, 3600, -3600, 0];
/** A zone with summer time: what leans on the machine's zone would show. */
const ZONE = 'America/New_York';
/** The rollup is due every second; a clock that was set back must not keep it from running. */
const ROLLUP_SCHEDULE = '* * * * * *';
const PAUSE_MS_MAX = 35_000;

export const clock: Row = {
  name: 'clock',
  promise:
    'The clock jumps by two days, three hours and an hour either way: no window in a wrong hour, no job beside itself, each goes on running.',
  trials: { full: 200, quick: 10 },
  tools: ['faketime'],
  async run(context: Context): Promise<Finding> {
    const { seed, random, trials } = context;
    const site = await context.site();
    const offsetFile = join(context.folder, 'clock');
    const setClock = (offsetS: number): Promise<void> => writeFile(offsetFile, `${offsetS < 0 ? '' : '+'}${offsetS}\n`);
    await setClock(0);
    const { LD_PRELOAD = '' } = await environmentOf('faketime', ['-m', '-f', '+0'], ['LD_PRELOAD']);
    const meterd = await site.start({
      LD_PRELOAD,
      FAKETIME_TIMESTAMP_FILE: offsetFile,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      TZ: ZONE,
      METERD_ROLLUP_SCHEDULE: ROLLUP_SCHEDULE,
    });
    const client = new SendClient(meterd.url, await site.collectorKey(meterd), LANES);
    const fleet = new Fleet({ name: 'clock', seed, windowsPerBatch: WINDOWS_PER_BATCH });
    const log = new SendLog();
    const pace = paced(CALLS_PER_SECOND);
    const load = new Load({
      fleet,
      log,
      random: new Random(seed, 1),
      lanes: LANES,
      resendPermille: 200,
      pace: () => pace(1),
    });
    const over = new AbortController();
    const loading = load.run(client, { signal: over.signal });
    const db = new Client({ connectionString: site.databaseUrl });
    await db.connect();
    context.onClose(() => db.end());
    const counts = { jumps: 0, stuck: 0, pauseMsMax: 0 };
    for (; counts.jumps < trials; counts.jumps++) {
      const before = await rollupsOf(db);
      await setClock(random.pick(OFFSETS_S));
      const startedMs = performance.now();
      while ((await rollupsOf(db)) < before + 2 && performance.now() - startedMs < PAUSE_MS_MAX) await wait(50);
      if ((await rollupsOf(db)) < before + 2) counts.stuck++;
      counts.pauseMsMax = Math.max(counts.pauseMsMax, Math.round(performance.now() - startedMs));
    }
    await setClock(0);
    over.abort();
    await loading;
    client.close();
    const totals = new Totals();
    totals.add(await checkStored(meterd, site.clickhouse(), { fleet, log }));
    totals.wrong.push(...load.wrong);
    const { rows } = await db.query<{ failed: string }>(
      `SELECT count(*) AS failed FROM job_runs WHERE outcome <> 'succeeded'`,
    );
    return totals.finding(
      { ...counts, runsFailed: Number(rows[0]?.failed) },
      { jumps: { atLeast: trials }, stuck: NONE, runsFailed: NONE },
    );
  },
};

async function rollupsOf(db: Client): Promise<number> {
  const { rows } = await db.query<{ runs: string }>(
    `SELECT count(*) AS runs FROM job_runs WHERE job = 'rollup' AND outcome = 'succeeded'`,
  );
  return Number(rows[0]?.runs);
}
