import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Client } from 'pg';
import { Random } from '../../bench/generator/random.ts';
import type { MeterdProcess } from '../../demo/meterd-process.ts';
import { environmentOf } from '../preload.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';
import { sideBySide } from '../side-by-side.ts';
import type { Site } from '../site.ts';
import { Totals } from '../totals.ts';
import { Traffic } from '../traffic.ts';

const WINDOWS_PER_BATCH = 20;
const CALLS_PER_SECOND = 50;
const LANES = 2;
/** Where the clock jumps to, in seconds from the true time: two days either way, and what a change to summer time moves. */
const OFFSETS_S = [2 * 86_400, -2 * 86_400, -3 * 3600, 3600, -3600, 0];
/** A zone with summer time: what leans on the machine's zone would show. */
const ZONE = 'America/New_York';
/** The rollup is due every second; a clock that was set back must not keep it from running. */
const ROLLUP_SCHEDULE = '* * * * * *';
const PAUSE_MS_MAX = 35_000;
/** Most of a trial is waiting until the schedule has found its way again. */
const SITES = { quick: 2, full: 4 };

/**
 * Runs that have failed, whatever becomes of them afterwards: one that is beside another of its job takes that for dead, which then
 * may still end well.
 */
const NOTE_FAILED_RUNS = `
  CREATE TABLE chaos_failed_runs (run uuid);
  CREATE FUNCTION chaos_note_failed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO chaos_failed_runs VALUES (NEW.id); RETURN NULL; END $$;
  CREATE TRIGGER chaos_note_failed AFTER UPDATE ON job_runs FOR EACH ROW WHEN (NEW.outcome = 'failed')
    EXECUTE FUNCTION chaos_note_failed()`;

export const clock: Row = {
  name: 'clock',
  promise:
    'The clock jumps by two days, three hours and an hour either way: no window in a wrong hour, no run of a job that is taken for dead, each goes on running.',
  trials: { full: 200, quick: 10 },
  tools: ['faketime'],
  async run({ seed, trials, isFull, folder, site: newSite, onClose }: Context): Promise<Finding> {
    const counts = { jumps: 0, stuck: 0, pauseMsMax: 0, runsFailed: 0 };
    const totals = new Totals();
    const sites: ClockSite[] = [];
    await sideBySide(isFull ? SITES.full : SITES.quick, trials, async (lane) => {
      const site = await ClockSite.begin(await newSite(), { name: `clock${lane}`, seed, folder });
      onClose(() => site.close());
      sites.push(site);
      return async (trial) => {
        const before = await site.rollups();
        await site.setClock(new Random(seed, trial).pick(OFFSETS_S));
        const startedMs = performance.now();
        while ((await site.rollups()) < before + 2 && performance.now() - startedMs < PAUSE_MS_MAX) await wait(50);
        if ((await site.rollups()) < before + 2) counts.stuck++;
        counts.pauseMsMax = Math.max(counts.pauseMsMax, Math.round(performance.now() - startedMs));
        counts.jumps++;
      };
    });
    for (const site of sites) counts.runsFailed += await site.end(totals);
    return totals.finding(counts, { jumps: { atLeast: trials }, stuck: NONE, runsFailed: NONE });
  },
};

/** A meterd whose clock can be set, under load. */
class ClockSite {
  readonly #site: Site;
  readonly #meterd: MeterdProcess;
  readonly #traffic: Traffic;
  readonly #offsetFile: string;
  readonly #db: Client;

  private constructor(parts: { site: Site; meterd: MeterdProcess; traffic: Traffic; offsetFile: string; db: Client }) {
    this.#site = parts.site;
    this.#meterd = parts.meterd;
    this.#traffic = parts.traffic;
    this.#offsetFile = parts.offsetFile;
    this.#db = parts.db;
  }

  static async begin(
    site: Site,
    { name, seed, folder }: { name: string; seed: number; folder: string },
  ): Promise<ClockSite> {
    const offsetFile = join(folder, name);
    await writeFile(offsetFile, offsetText(0));
    const { LD_PRELOAD = '' } = await environmentOf('faketime', ['-m', '-f', '+0'], ['LD_PRELOAD']);
    const meterd = await site.start({
      LD_PRELOAD,
      FAKETIME_TIMESTAMP_FILE: offsetFile,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      TZ: ZONE,
      METERD_ROLLUP_SCHEDULE: ROLLUP_SCHEDULE,
    });
    const db = new Client({ connectionString: site.databaseUrl });
    await db.connect();
    await db.query(NOTE_FAILED_RUNS);
    const rates = { callsPerSecond: CALLS_PER_SECOND, lanes: LANES, resendPermille: 200 };
    const traffic = await Traffic.begin(site, meterd, { name, seed, windowsPerBatch: WINDOWS_PER_BATCH, ...rates });
    return new ClockSite({ site, meterd, traffic, offsetFile, db });
  }

  /** @param offsetS from the true time */
  setClock(offsetS: number): Promise<void> {
    return writeFile(this.#offsetFile, offsetText(offsetS));
  }

  /** How many rollups have ended well. */
  async rollups(): Promise<number> {
    return this.#count(`job_runs WHERE job = 'rollup' AND outcome = 'succeeded'`);
  }

  /** Sets the clock right, ends the load and compares what is stored. @returns how many runs of jobs have failed */
  async end(totals: Totals): Promise<number> {
    await this.setClock(0);
    await this.#traffic.end();
    await this.#traffic.check(this.#site, this.#meterd, totals);
    return this.#count('chaos_failed_runs');
  }

  close(): Promise<void> {
    return this.#db.end();
  }

  async #count(runs: string): Promise<number> {
    const { rows } = await this.#db.query<{ runs: string }>(`SELECT count(*) AS runs FROM ${runs}`);
    return Number(rows[0]?.runs);
  }
}

/** As libfaketime reads it. */
function offsetText(offsetS: number): string {
  return `${offsetS < 0 ? '' : '+'}${offsetS}\n`;
}
