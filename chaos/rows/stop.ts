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
import { sideBySide } from '../side-by-side.ts';
import type { Site } from '../site.ts';
import { Totals } from '../totals.ts';

const WINDOWS_PER_BATCH = 20;
/** All that is sent is compared in the end: a full run must not make more than that can hold. */
const CALLS_PER_SECOND = 50;
const LANES = 8;
/** Half of a trial is a start, which is one core's work. */
const SITES = 2;
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
  async run({ seed, trials, site: newSite }: Context): Promise<Finding> {
    const counts: Counts = { failed: 0, stopMsMax: 0, exitsOther: 0, stops: 0 };
    const totals = new Totals();
    const ends: (() => Promise<void>)[] = [];
    await sideBySide(SITES, trials, async (lane) => {
      const pair = await Pair.begin(await newSite(), { name: `stop${lane}`, seed, counts });
      ends.push(() => pair.end(totals));
      return (trial) => pair.stopOne(new Random(seed, trial));
    });
    for (const end of ends) await end();
    const limits = { stops: { atLeast: trials }, failed: NONE, exitsOther: NONE, stopMsMax: { atMost: STOP_MS_MAX } };
    return totals.finding({ ...counts }, limits);
  },
};

interface Counts {
  failed: number;
  stopMsMax: number;
  exitsOther: number;
  stops: number;
}

/** Two meterds on one site under load, of which one after the other is stopped and another started. */
class Pair {
  readonly #site: Site;
  readonly #targets: Targets;
  readonly #fleet: Fleet;
  readonly #log = new SendLog();
  readonly #load: Load;
  readonly #counts: Counts;
  readonly #over = new AbortController();
  readonly #lanes: Promise<void>[];
  #started = 1;

  private constructor(
    site: Site,
    first: Target,
    { name, seed, counts }: { name: string; seed: number; counts: Counts },
  ) {
    this.#site = site;
    this.#targets = { first, second: first };
    this.#counts = counts;
    this.#fleet = new Fleet({ name, seed, windowsPerBatch: WINDOWS_PER_BATCH });
    const pace = paced(CALLS_PER_SECOND);
    const random = new Random(seed, 1);
    const options = { lanes: LANES, resendPermille: 0, pace: () => pace(1) };
    this.#load = new Load({ fleet: this.#fleet, log: this.#log, random, ...options });
    this.#lanes = Array.from({ length: LANES }, () => this.#send());
  }

  static async begin(site: Site, options: { name: string; seed: number; counts: Counts }): Promise<Pair> {
    return new Pair(site, await startNth(site, 0), options);
  }

  async stopOne(random: Random): Promise<void> {
    const counts = this.#counts;
    this.#targets.second = await startNth(this.#site, this.#started++);
    await wait(random.between(5, 300));
    const startedMs = performance.now();
    const code = await stopMeterd(this.#targets.first.meterd);
    counts.stopMsMax = Math.max(counts.stopMsMax, Math.round(performance.now() - startedMs));
    counts.stops++;
    if (code !== 0) counts.exitsOther++;
    this.#targets.first.client.close();
    this.#targets.first = this.#targets.second;
  }

  /** Ends the load and compares what is stored. */
  async end(totals: Totals): Promise<void> {
    this.#over.abort();
    await Promise.all(this.#lanes);
    // What the last one that stopped has left in its spool.
    await untilDrained((await startNth(this.#site, this.#started)).meterd);
    const { meterd } = this.#targets.first;
    totals.add(await checkStored(meterd, this.#site.clickhouse(), { fleet: this.#fleet, log: this.#log }));
    totals.wrong.push(...this.#load.wrong);
  }

  async #send(): Promise<void> {
    while (!this.#over.signal.aborted) {
      if (!(await sendWithRetry(this.#load, this.#log.takeNew(), this.#targets))) this.#counts.failed++;
    }
  }
}

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
