import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { Random } from '../../bench/generator/random.ts';
import { checkStored } from '../check-stored.ts';
import { SendClient } from '../client.ts';
import { Fleet } from '../fleet.ts';
import { Load } from '../load.ts';
import type { Context, Finding, Row } from '../row.ts';
import { SendLog } from '../send-log.ts';
import { Totals } from '../totals.ts';

const WINDOWS_PER_BATCH = 20;
const LANES = 8;
const RESEND_PERMILLE = 300;
/** What is stored is compared after so many kills, so that most of them find a spool that is not empty. */
const KILLS_PER_CHECK = 10;

export const kill: Row = {
  name: 'kill',
  promise:
    'SIGKILL of meterd 5 to 500 ms after its first ack under load: nothing acknowledged is lost, billed twice or invented.',
  trials: { full: 1_000, quick: 30 },
  tools: [],
  async run(context: Context): Promise<Finding> {
    const { seed, random } = context;
    const site = await context.site();
    const totals = new Totals();
    let kills = 0;
    for (let round = 0; kills < context.trials; round++) {
      const fleet = new Fleet({ name: `kill${round}`, seed, windowsPerBatch: WINDOWS_PER_BATCH });
      const log = new SendLog();
      const load = new Load({
        fleet,
        log,
        random: new Random(seed, round),
        lanes: LANES,
        resendPermille: RESEND_PERMILLE,
      });
      for (let i = 0; i < KILLS_PER_CHECK && kills < context.trials; i++, kills++) {
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
      context.note(`${kills} kills`);
    }
    return totals.finding({ kills }, { kills: { atLeast: context.trials } });
  },
};
