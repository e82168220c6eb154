import { setTimeout as wait } from 'node:timers/promises';
import { Random } from '../../bench/generator/random.ts';
import { checkStored, untilDrained } from '../check-stored.ts';
import { ClickHouseProxy } from '../clickhouse-proxy.ts';
import { SendClient } from '../client.ts';
import { Fleet } from '../fleet.ts';
import { Load } from '../load.ts';
import { paced } from '../pace.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';
import { SendLog } from '../send-log.ts';
import type { Site } from '../site.ts';
import { Totals } from '../totals.ts';

const WINDOWS_PER_BATCH = 50;
const LANES = 4;
const CALLS_PER_SECOND = 60;
/** In each trial meterd must have acknowledged so many calls while ClickHouse was away. */
const CALLS_MIN = 5;
const STANDS_MS = { quick: 1_500, full: 60_000 };

type Harm = (world: World) => Promise<void>;

interface World {
  readonly site: Site;
  readonly proxy: ClickHouseProxy;
  readonly random: Random;
  readonly standsMsMax: number;
  /** Resolves once so many calls more were acknowledged. */
  readonly acknowledgedMore: (calls: number) => Promise<void>;
}

export const clickhouse: Row = {
  name: 'clickhouse',
  promise:
    'ClickHouse killed, stopped for up to 60 s, its answers dropped, too many parts: acks go on, the backlog drains, all is stored and billed once.',
  trials: { full: 100, quick: 5 },
  tools: [],
  async run(context: Context): Promise<Finding> {
    const { seed, random, trials, isFull } = context;
    const site = await context.ownSite();
    const proxy = await ClickHouseProxy.open(site.clickhouseUrl);
    context.onClose(() => proxy.close());
    const meterd = await site.start({ CLICKHOUSE_URL: proxy.url });
    const client = new SendClient(meterd.url, await site.collectorKey(meterd), LANES);
    const counts = { trialsDone: 0, notAcknowledged: 0, drainMsMax: 0 };
    const totals = new Totals();
    const standsMsMax = isFull ? STANDS_MS.full : STANDS_MS.quick;
    for (let trial = 0; trial < trials; trial++) {
      const fleet = new Fleet({ name: `away${trial}`, seed, windowsPerBatch: WINDOWS_PER_BATCH });
      const log = new SendLog();
      const pace = paced(CALLS_PER_SECOND);
      const load = new Load({
        fleet,
        log,
        random: new Random(seed, trial),
        lanes: LANES,
        resendPermille: 200,
        pace: () => pace(1),
        onAnswer: ({ kind }) => void (counts.notAcknowledged += kind === 'acknowledged' ? 0 : 1),
      });
      const over = new AbortController();
      const loading = load.run(client, { signal: over.signal });
      const world: World = { site, proxy, random, standsMsMax, acknowledgedMore: (calls) => untilMore(log, calls) };
      for (const [name, harm] of Object.entries(HARMS)) {
        await untilMore(log, CALLS_MIN);
        await harm(world);
        counts.trialsDone++;
        context.note(`${name} ${trial + 1}`);
      }
      over.abort();
      await loading;
      const drainingMs = performance.now();
      await untilDrained(meterd);
      counts.drainMsMax = Math.max(counts.drainMsMax, Math.round(performance.now() - drainingMs));
      totals.add(await checkStored(meterd, site.clickhouse(), { fleet, log }));
      totals.wrong.push(...load.wrong);
    }
    client.close();
    const limits = {
      trialsDone: { atLeast: trials * Object.keys(HARMS).length },
      notAcknowledged: NONE,
      answersDropped: { atLeast: trials },
    };
    return totals.finding({ ...counts, answersDropped: proxy.dropped }, limits);
  },
};

/** Resolves once so many calls more were acknowledged. */
async function untilMore(log: SendLog, calls: number): Promise<void> {
  const until = log.acknowledged.size + calls;
  while (log.acknowledged.size < until) await wait(5);
}

const HARMS: Readonly<Record<string, Harm>> = {
  async killed({ site, acknowledgedMore }) {
    await site.engines.killClickHouse();
    await acknowledgedMore(CALLS_MIN);
    await site.engines.startClickHouse();
  },
  async stopped({ site, random, standsMsMax, acknowledgedMore }) {
    site.engines.pauseClickHouse();
    try {
      await Promise.all([acknowledgedMore(CALLS_MIN), wait(random.between(1_000, standsMsMax))]);
    } finally {
      site.engines.resumeClickHouse();
    }
  },
  async 'answers dropped'({ proxy, acknowledgedMore }) {
    const before = proxy.dropped;
    proxy.dropPermille = 500;
    while (proxy.dropped < before + 2) await acknowledgedMore(1);
    proxy.dropPermille = 0;
  },
  async 'too many parts'({ site, acknowledgedMore }) {
    const set = (setting: string): Promise<unknown> =>
      site.clickhouse().command({ query: `ALTER TABLE windows ${setting}` });
    await set(
      'MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1, max_avg_part_size_for_too_many_parts = 0',
    );
    await acknowledgedMore(4 * CALLS_MIN);
    await set('RESET SETTING parts_to_delay_insert, parts_to_throw_insert, max_avg_part_size_for_too_many_parts');
  },
};
