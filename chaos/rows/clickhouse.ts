import { setTimeout as wait } from 'node:timers/promises';
import { Random } from '../../bench/generator/random.ts';
import { counterOf, untilDrained } from '../check-stored.ts';
import type { MeterdProcess } from '../../demo/meterd-process.ts';
import { ClickHouseProxy } from '../clickhouse-proxy.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';
import { sideBySide } from '../side-by-side.ts';
import type { Site } from '../site.ts';
import { Totals } from '../totals.ts';
import { Traffic } from '../traffic.ts';

const WINDOWS_PER_BATCH = 50;
const LANES = 4;
const CALLS_PER_SECOND = 60;
/** In each trial meterd must have acknowledged so many calls while ClickHouse was away. */
const CALLS_MIN = 5;
/** Engines of their own: most of a full trial is waiting for a ClickHouse that stands still. */
const SITES = { quick: 1, full: 4 };
const POLL_MS = 50;
const STANDS_MS = { quick: 1_500, full: 60_000 };

type Harm = (world: World) => Promise<void>;

interface World {
  readonly site: Site;
  readonly meterd: MeterdProcess;
  readonly proxy: ClickHouseProxy;
  readonly random: Random;
  readonly standsMsMax: number;
  readonly traffic: Traffic;
}

export const clickhouse: Row = {
  name: 'clickhouse',
  promise:
    'ClickHouse killed, stopped for up to 60 s, its answers dropped, too many parts: acks go on, the backlog drains, all is stored and billed once.',
  trials: { full: 100, quick: 5 },
  tools: [],
  async run({ seed, trials, isFull, ownSite, note, onClose }: Context): Promise<Finding> {
    const counts = { trialsDone: 0, notAcknowledged: 0, drainMsMax: 0, answersDropped: 0 };
    const totals = new Totals();
    const kind = isFull ? 'full' : 'quick';
    await sideBySide(SITES[kind], trials, async () => {
      const site = await ownSite();
      const proxy = await ClickHouseProxy.open(site.clickhouseUrl);
      onClose(() => proxy.close());
      const meterd = await site.start({ CLICKHOUSE_URL: proxy.url });
      return async (trial) => {
        const traffic = await Traffic.begin(site, meterd, {
          name: `away${trial}`,
          seed,
          windowsPerBatch: WINDOWS_PER_BATCH,
          callsPerSecond: CALLS_PER_SECOND,
          lanes: LANES,
          resendPermille: 200,
          onAnswer: (answer) => void (counts.notAcknowledged += answer.kind === 'acknowledged' ? 0 : 1),
        });
        const before = proxy.dropped;
        const world: World = {
          site,
          meterd,
          proxy,
          traffic,
          random: new Random(seed, trial),
          standsMsMax: STANDS_MS[kind],
        };
        for (const [name, harm] of Object.entries(HARMS)) {
          await traffic.acknowledgedMore(CALLS_MIN);
          await harm(world);
          counts.trialsDone++;
          note(`${name} ${trial + 1}`);
        }
        await traffic.end();
        const drainingMs = performance.now();
        await untilDrained(meterd);
        counts.drainMsMax = Math.max(counts.drainMsMax, Math.round(performance.now() - drainingMs));
        counts.answersDropped += proxy.dropped - before;
        await traffic.check(site, meterd, totals);
      };
    });
    return totals.finding(counts, {
      trialsDone: { atLeast: trials * Object.keys(HARMS).length },
      notAcknowledged: NONE,
      answersDropped: { atLeast: trials },
    });
  },
};

const HARMS: Readonly<Record<string, Harm>> = {
  async killed({ site, meterd, traffic }) {
    const opened = (): Promise<number> => counterOf(meterd.url, 'meterd_circuit_changes', 'state="open"');
    const before = await opened();
    await site.engines.killClickHouse();
    await traffic.acknowledgedMore(CALLS_MIN);
    // Until meterd has taken it for away: what it sends after that is a probe, which another way leads to.
    while ((await opened()) === before) await wait(POLL_MS);
    await site.engines.startClickHouse();
  },
  async stopped({ site, random, standsMsMax, traffic }) {
    site.engines.pauseClickHouse();
    try {
      await Promise.all([traffic.acknowledgedMore(CALLS_MIN), wait(random.between(1_000, standsMsMax))]);
    } finally {
      site.engines.resumeClickHouse();
    }
  },
  async 'answers dropped'({ proxy, traffic }) {
    const before = proxy.dropped;
    proxy.dropPermille = 500;
    while (proxy.dropped < before + 2) await traffic.acknowledgedMore(1);
    proxy.dropPermille = 0;
  },
  async 'too many parts'({ site, traffic }) {
    const set = (setting: string): Promise<unknown> =>
      site.clickhouse().command({ query: `ALTER TABLE windows ${setting}` });
    await set(
      'MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1, max_avg_part_size_for_too_many_parts = 0',
    );
    await traffic.acknowledgedMore(4 * CALLS_MIN);
    await set('RESET SETTING parts_to_delay_insert, parts_to_throw_insert, max_avg_part_size_for_too_many_parts');
  },
};
