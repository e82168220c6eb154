import { setTimeout as wait } from 'node:timers/promises';
import { Random } from '../../bench/generator/random.ts';
import { type MeterdProcess, stopMeterd } from '../../demo/meterd-process.ts';
import { checkStored, untilDrained } from '../check-stored.ts';
import { SendClient } from '../client.ts';
import { Fleet } from '../fleet.ts';
import { Load } from '../load.ts';
import { paced } from '../pace.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';
import { SendLog } from '../send-log.ts';
import type { Site } from '../site.ts';
import { Totals } from '../totals.ts';

const WINDOWS_PER_BATCH = 20;
/** All that is sent is compared in the end: a full run must not make more than that can hold. */
const CALLS_PER_SECOND = 100;
const LANES = 8;
const STOP_MS_MAX = 10_000;

interface Target {
  readonly meterd: MeterdProcess;
  readonly client: SendClient;
}

/** Whom the lanes call, and whom they call once more where that fails. */
interface Targets {
  first: Target;
  second: Target;
}

export const stop: Row = {
  name: 'stop',
  promise:
    'SIGTERM under load, with another meterd beside: no call fails after one retry, and stopping takes at most 10 s.',
  trials: { full: 200, quick: 10 },
  tools: [],
  async run({ seed, random, trials, site: newSite }: Context): Promise<Finding> {
    const site = await newSite();
    const running = await startNth(site, 0);
    const targets: Targets = { first: running, second: running };
    const fleet = new Fleet({ name: 'stop', seed, windowsPerBatch: WINDOWS_PER_BATCH });
    const log = new SendLog();
    const pace = paced(CALLS_PER_SECOND);
    const load = new Load({
      fleet,
      log,
      random: new Random(seed, 1),
      lanes: LANES,
      resendPermille: 0,
      pace: () => pace(1),
    });
    const counts = { failed: 0, stopMsMax: 0, exitsOther: 0, stops: 0 };
    const over = new AbortController();
    const lane = async (): Promise<void> => {
      while (!over.signal.aborted) if (!(await sendWithRetry(load, log.takeNew(), targets))) counts.failed++;
    };
    const lanes = Array.from({ length: LANES }, lane);
    for (; counts.stops < trials; counts.stops++) {
      targets.second = await startNth(site, counts.stops + 1);
      await wait(random.between(5, 300));
      const startedMs = performance.now();
      const code = await stopMeterd(targets.first.meterd);
      counts.stopMsMax = Math.max(counts.stopMsMax, Math.round(performance.now() - startedMs));
      if (code !== 0) counts.exitsOther++;
      targets.first.client.close();
      targets.first = targets.second;
    }
    over.abort();
    await Promise.all(lanes);
    // What the last one that stopped has left in its spool.
    await untilDrained((await startNth(site, counts.stops + 1)).meterd);
    const totals = new Totals();
    totals.add(await checkStored(targets.first.meterd, site.clickhouse(), { fleet, log }));
    totals.wrong.push(...load.wrong);
    const limits = { stops: { atLeast: trials }, failed: NONE, exitsOther: NONE, stopMsMax: { atMost: STOP_MS_MAX } };
    return totals.finding(counts, limits);
  },
};

/** Two data folders in turn: what one that stops leaves in its spool is stored by the one after the next. */
async function startNth(site: Site, number: number): Promise<Target> {
  const meterd = await (number % 2 === 0 ? site.start() : site.startBeside(`${site.dataDir}-beside`));
  return { meterd, client: new SendClient(meterd.url, await site.collectorKey(meterd), LANES) };
}

/** @returns whether it was acknowledged, at the second try at the latest */
async function sendWithRetry(load: Load, batch: number, targets: Targets): Promise<boolean> {
  const answer = await load.send(targets.first.client, batch);
  if (answer.kind === 'acknowledged') return true;
  return (await load.send(targets.second.client, batch)).kind === 'acknowledged';
}
