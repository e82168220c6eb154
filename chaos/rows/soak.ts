import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { Random } from '../../bench/generator/random.ts';
import { checkHours } from '../check-hours.ts';
import { SendClient } from '../client.ts';
import { Fleet } from '../fleet.ts';
import { Load } from '../load.ts';
import { paced } from '../pace.ts';
import { type Outage, rollupRuns } from '../rollup-runs.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';
import { SendLog } from '../send-log.ts';
import { Totals } from '../totals.ts';

const WINDOWS_PER_BATCH = 250;
const LANES = 4;
const MIB = 1024 * 1024;
const MINUTE_MS = 60_000;
const BYTES_PER_SECOND = 10 * MIB;
const SAMPLE_MS = 500;
/** The first part of the time memory may still grow to what it needs. */
const SETTLED_SHARE = 0.5;
const GROWTH_MIB_MAX = 64;
const DESCRIPTORS_MORE_MAX = 20;
/** ClickHouse is killed twice at least, and once in so many minutes. */
const MINUTES_PER_KILL = 5;
/** Hours of windows are too many to roll up at the end. */
const ROLLUP_SCHEDULE = '*/10 * * * *';
/** So often a rollup has to come to its end, kills notwithstanding. */
const MINUTES_PER_ROLLUP_MAX = 30;

export const soak: Row = {
  name: 'soak',
  promise:
    'Load at up to 10 MB/s with ClickHouse killed now and then: memory, descriptors and sessions of meterd stay flat, rollups go on, nothing is lost, and usage is right. A trial is a minute.',
  trials: { full: 120, quick: 1 },
  tools: [],
  async run(context: Context): Promise<Finding> {
    const { seed, trials } = context;
    const site = await context.ownSite();
    const meterd = await site.start({ METERD_ROLLUP_SCHEDULE: ROLLUP_SCHEDULE });
    const { pid } = meterd.child;
    if (pid === undefined) throw new Error('meterd has no process');
    const client = new SendClient(meterd.url, await site.collectorKey(meterd), LANES);
    const fleet = new Fleet({ name: 'soak', seed, windowsPerBatch: WINDOWS_PER_BATCH });
    const log = new SendLog();
    const over = new AbortController();
    const counts = { notAcknowledged: 0, kills: 0, sentMib: 0, bytesPerSecond: 0 };
    let sentBytes = 0;
    const pace = paced(BYTES_PER_SECOND);
    const load = new Load({
      fleet,
      log,
      random: new Random(seed, 1),
      lanes: LANES,
      resendPermille: 100,
      onAnswer: ({ kind }) => void (counts.notAcknowledged += kind === 'acknowledged' ? 0 : 1),
      pace: async (bytes) => {
        sentBytes += bytes;
        await pace(bytes);
      },
    });
    const startedMs = performance.now();
    const forMs = trials * MINUTE_MS;
    const loading = load.run(client, { signal: over.signal });
    const kills = Math.max(2, Math.floor(trials / MINUTES_PER_KILL));
    const samples: Sample[] = [];
    const outages: Outage[] = [];
    while (performance.now() - startedMs < forMs) {
      await wait(SAMPLE_MS);
      samples.push(sampleOf(pid));
      const isDue = performance.now() - startedMs >= ((counts.kills + 1) * forMs) / (kills + 1);
      if (!isDue || counts.kills >= kills) continue;
      counts.kills++;
      const fromMs = Date.now();
      await site.engines.killClickHouse();
      await site.engines.startClickHouse();
      outages.push({ fromMs, untilMs: Date.now() });
    }
    over.abort();
    await loading;
    client.close();
    counts.sentMib = Math.round(sentBytes / MIB);
    counts.bytesPerSecond = Math.round(sentBytes / (forMs / 1000));
    const { reasons, ...runs } = await rollupRuns(meterd, outages);
    const totals = new Totals();
    totals.add(await checkHours(meterd, site.clickhouse(), { fleet, log }));
    totals.wrong.push(...load.wrong, ...reasons);
    const grown = growthOf(samples);
    return totals.finding(
      { ...counts, ...grown, ...runs },
      {
        notAcknowledged: NONE,
        kills: { atLeast: kills },
        rollups: { atLeast: Math.floor(trials / MINUTES_PER_ROLLUP_MAX) },
        rollupsFailed: NONE,
        grownMib: { atMost: GROWTH_MIB_MAX },
        descriptorsMore: { atMost: DESCRIPTORS_MORE_MAX },
      },
    );
  },
};

interface Sample {
  readonly residentMib: number;
  readonly descriptors: number;
}

function sampleOf(pid: number): Sample {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return { residentMib: Math.round(Number(kib) / 1024), descriptors: readdirSync(`/proc/${pid}/fd`).length };
}

/** How much more the second half of the settled time needs than the first half of it, at most. */
function growthOf(samples: readonly Sample[]): Record<string, number> {
  const settled = samples.slice(Math.floor(samples.length * SETTLED_SHARE));
  const middle = Math.floor(settled.length / 2);
  const most = (of: readonly Sample[], what: keyof Sample): number => Math.max(0, ...of.map((each) => each[what]));
  const grown = (what: keyof Sample): number =>
    most(settled.slice(middle), what) - most(settled.slice(0, middle), what);
  return {
    residentMibMax: most(samples, 'residentMib'),
    grownMib: grown('residentMib'),
    descriptorsMore: grown('descriptors'),
  };
}
