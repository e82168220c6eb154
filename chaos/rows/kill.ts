import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { Random } from '../../bench/generator/random.ts';
import { checkStored } from '../check-stored.ts';
import { SendClient } from '../client.ts';
import { Fleet } from '../fleet.ts';
import { Load } from '../load.ts';
import type { Context, Finding, Row } from '../row.ts';
import { SendLog } from '../send-log.ts';
import { sideBySide } from '../side-by-side.ts';
import type { Site } from '../site.ts';
import { Totals } from '../totals.ts';

const WINDOWS_PER_BATCH = 20;
const LANES = 8;
const RESEND_PERMILLE = 300;
/** What is stored is compared after so many kills, so that most of them find a spool that is not empty. */
const KILLS_PER_CHECK = 10;
/** Two thirds of a trial are a start, most of which is one core's work. */
const SITES = 2;

export const kill: Row = {
  name: 'kill',
  promise:
    'SIGKILL of meterd 5 to 500 ms after its first ack under load: nothing acknowledged is lost, billed twice or invented.',
  trials: { full: 1_000, quick: 30 },
  tools: [],
  async run({ seed, trials, site: newSite, note }: Context): Promise<Finding> {
    const totals = new Totals();
    let kills = 0;
    const rounds = Math.ceil(trials / KILLS_PER_CHECK);
    await sideBySide(SITES, rounds, async () => {
      const site = await newSite();
      return async (round) => {
        const killsHere = Math.min(KILLS_PER_CHECK, trials - round * KILLS_PER_CHECK);
        await killAndCheck(site, { round, seed, kills: killsHere, totals });
        kills += killsHere;
        note(`${kills} kills`);
      };
    });
    return totals.finding({ kills }, { kills: { atLeast: trials } });
  },
};

/** Kills meterd so many times under the load of one fleet, then compares what is stored. */
async function killAndCheck(
  site: Site,
  { round, seed, kills, totals }: { round: number; seed: number; kills: number; totals: Totals },
): Promise<void> {
  const random = new Random(seed, round);
  const fleet = new Fleet({ name: `kill${round}`, seed, windowsPerBatch: WINDOWS_PER_BATCH });
  const log = new SendLog();
  const load = new Load({ fleet, log, random, lanes: LANES, resendPermille: RESEND_PERMILLE });
  for (let nth = 0; nth < kills; nth++) {
    const meterd = await site.start();
    const client = new SendClient(meterd.url, await site.collectorKey(meterd), LANES);
    const before = log.acknowledged.size;
    const loading = load.run(client, { signal: new AbortController().signal, untilBroken: true });
    // The first calls of a process take longest, and a kill before them would try nothing.
    while (log.acknowledged.size === before && meterd.child.exitCode === null) await wait(1);
    await wait(random.between(5, 500));
    const exited = once(meterd.child, 'exit');
    meterd.child.kill('SIGKILL');
    await Promise.all([loading, exited]);
    client.close();
  }
  const meterd = await site.start();
  totals.add(await checkStored(meterd, site.clickhouse(), { fleet, log }));
  totals.wrong.push(...load.wrong);
  await site.stop(meterd);
}
