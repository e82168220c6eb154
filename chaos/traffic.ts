import { setTimeout as wait } from 'node:timers/promises';
import { Random } from '../bench/generator/random.ts';
import type { MeterdProcess } from '../demo/meterd-process.ts';
import { checkStored } from './check-stored.ts';
import { SendClient } from './client.ts';
import { Fleet } from './fleet.ts';
import { Load, type LoadOptions } from './load.ts';
import { paced } from './pace.ts';
import { SendLog } from './send-log.ts';
import type { Site } from './site.ts';
import type { Totals } from './totals.ts';

const POLL_MS = 5;
const TIMEOUT_MS = 120_000;

export interface TrafficOptions {
  /** Of the fleet: each of a row's has another. */
  readonly name: string;
  readonly seed: number;
  readonly windowsPerBatch: number;
  /** All that is sent is compared in the end: a full run must not make more than that can hold. */
  readonly callsPerSecond: number;
  readonly lanes: number;
  readonly resendPermille: number;
  readonly onAnswer?: NonNullable<LoadOptions['onAnswer']>;
}

/** Load on one meterd while something is done to it, and what became of it all. */
export class Traffic {
  readonly #fleet: Fleet;
  readonly #log = new SendLog();
  readonly #load: Load;
  readonly #client: SendClient;
  readonly #over = new AbortController();
  readonly #running: Promise<void>;

  private constructor(url: string, key: string, options: TrafficOptions) {
    const { name, seed, windowsPerBatch, callsPerSecond, ...rest } = options;
    this.#fleet = new Fleet({ name, seed, windowsPerBatch });
    this.#client = new SendClient(url, key, options.lanes);
    const pace = paced(callsPerSecond);
    const parts = { fleet: this.#fleet, log: this.#log, random: new Random(seed, 1), pace: () => pace(1) };
    this.#load = new Load({ ...rest, ...parts });
    this.#running = this.#load.run(this.#client, { signal: this.#over.signal });
  }

  static async begin(site: Site, meterd: MeterdProcess, options: TrafficOptions): Promise<Traffic> {
    return new Traffic(meterd.url, await site.collectorKey(meterd), options);
  }

  /** Resolves once so many calls more were acknowledged. @throws Error where that takes two minutes */
  async acknowledgedMore(calls: number): Promise<void> {
    const isInTime = await this.acknowledgesMore(calls, TIMEOUT_MS);
    if (!isInTime) throw new Error(`${calls} calls more were not acknowledged within ${TIMEOUT_MS / 1000} s`);
  }

  /** @returns whether so many calls more were acknowledged within that time; as soon as they were */
  async acknowledgesMore(calls: number, timeoutMs: number): Promise<boolean> {
    const [until, untilMs] = [this.#log.acknowledged.size + calls, performance.now() + timeoutMs];
    while (this.#log.acknowledged.size < until) {
      if (performance.now() > untilMs) return false;
      await wait(POLL_MS);
    }
    return true;
  }

  /** Resolves once no call is under way. */
  async end(): Promise<void> {
    this.#over.abort();
    await this.#running;
    this.#client.close();
  }

  /** Compares all that was sent with what a meterd of the site has stored, once the traffic has ended. */
  async check(site: Site, meterd: MeterdProcess, totals: Totals): Promise<void> {
    totals.add(await checkStored(meterd, site.clickhouse(), { fleet: this.#fleet, log: this.#log }));
    totals.wrong.push(...this.#load.wrong);
  }
}
