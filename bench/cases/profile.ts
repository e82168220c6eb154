/**
 * Where does the CPU time of a window go, in meterd and in ClickHouse?
 *
 * meterd runs at the highest rate under V8's own sampling profiler; the samples of its main thread are shared out by
 * function and file, and stand for the CPU time that the kernel counted for that thread; other threads are told by their
 * names. Of ClickHouse there are no symbols, so the same rows are inserted into tables that do more and more with them
 * (`insert-ladder.ts`), and the differences are what each thing costs.
 *
 * Not measured: the cost of being profiled, which is part of the main thread's figures; the rollup; the load generator.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stopMeterd } from '../../demo/meterd-process.ts';
import type { Bench, CaseResult, Figure } from '../case.ts';
import { compareStored } from '../exactness.ts';
import { fleetSpec } from '../generator/generator.ts';
import { bucketOf, IDLE } from '../profile/buckets.ts';
import { type CpuProfile, microsByBucket, monotonicMicros, type Span } from '../profile/cpu-profile.ts';
import { insertLadder, type Rung } from '../profile/insert-ladder.ts';
import { threadSecondsOf } from '../process-usage.ts';
import { microsPerWindow, openLane, storedRate, sum, warmUp } from '../stored-rate.ts';
import { NO_JOBS } from '../world.ts';

const SECONDS_MAX = 20;
const LADDER_MS_MAX = 6000;
const MAIN_THREAD = 'MainThread';
/** The other threads of a Node process, by the names that V8 and libuv give them. */
const THREADS: Readonly<Record<string, string>> = {
  V8Worker: 'threads: collecting garbage, compiling',
  'libuv-worker': 'threads: writing and syncing files',
  'v8:ProfEvntProc': 'threads: being profiled',
};
const OTHER_THREADS = 'threads: other';

/** CPU of meterd by what it was for, in microseconds a window. */
interface Spent {
  readonly micros: ReadonlyMap<string, number>;
  readonly storedPerSecond: number;
  readonly clickhouseMicros: number;
  readonly wrong: readonly string[];
}

export async function profile(bench: Bench): Promise<CaseResult> {
  const forMs = Math.min(SECONDS_MAX, bench.options.seconds) * 1000;
  const spent = await profiled(bench, forMs);
  bench.note('profile: ClickHouse, one thing more at a time …');
  const world = await bench.world();
  const rungs = await insertLadder(world, fleetSpec({ nowMs: Date.now() }), Math.min(LADDER_MS_MAX, forMs));
  const parts = [...spent.micros].toSorted(([, a], [, b]) => b - a);
  return {
    figures: [
      ...parts.map(([what, value]) => figure(`meterd: ${what}`, value)),
      figure('meterd, all', sum(parts.map(([, value]) => value))),
      ...rungs.map((rung) => figure(`ClickHouse: ${rung.what}`, rung.cpuMicrosPerRow)),
      figure('ClickHouse, all of these', sum(rungs.map((rung) => rung.cpuMicrosPerRow))),
      figure('ClickHouse, behind meterd', spent.clickhouseMicros),
    ],
    json: jsonOf(spent, rungs),
    wrong: spent.wrong,
    remarks: [`stored at ${Math.round(spent.storedPerSecond).toLocaleString('en')} windows/s while profiled`],
  };
}

async function profiled(bench: Bench, forMs: number): Promise<Spent> {
  const world = await bench.world();
  const folder = join(world.folder, 'profile');
  const meterd = await world.startMeterd({ ...NO_JOBS, NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${folder}` });
  const lane = await openLane(world, meterd, [fleetSpec({ nowMs: Date.now() })]);
  bench.note('profile: meterd at its highest rate …');
  await warmUp([lane]);
  const before = threadSecondsOf(meterd.pid);
  const fromMicros = monotonicMicros();
  const stored = await storedRate([lane], forMs);
  const span = { fromMicros, toMicros: monotonicMicros() };
  const after = threadSecondsOf(meterd.pid);
  const wrong = await compareStored(await world.meterdDatabase(), await lane.load.tally());
  // It writes its profile when it ends.
  await stopMeterd(meterd);
  const seconds = new Map([...after].map(([thread, each]) => [thread, each - (before.get(thread) ?? 0)]));
  const spentSeconds = await secondsByUse(folder, span, seconds);
  await world.close();
  return {
    micros: new Map([...spentSeconds].map(([what, each]) => [what, microsPerWindow(each, stored.windows)])),
    storedPerSecond: stored.storedPerSecond,
    clickhouseMicros: microsPerWindow(sum(stored.clickhouseCpuSeconds), stored.windows),
    wrong,
  };
}

/** The main thread's CPU time in the shares that its samples have, those in which it waited left out; other threads whole. */
async function secondsByUse(
  folder: string,
  span: Span,
  secondsByThread: ReadonlyMap<string, number>,
): Promise<Map<string, number>> {
  const [file] = await readdir(folder);
  if (file === undefined) throw new Error('meterd left no profile');
  const cpuProfile: CpuProfile = JSON.parse(await readFile(join(folder, file), 'utf8'));
  const micros = microsByBucket(cpuProfile, span, bucketOf);
  micros.delete(IDLE);
  const allMicros = sum([...micros.values()]);
  const mainSeconds = secondsByThread.get(MAIN_THREAD);
  if (mainSeconds === undefined) throw new Error(`meterd has no thread ${MAIN_THREAD}`);
  const uses = new Map([...micros].map(([bucket, each]) => [bucket, (each / allMicros) * mainSeconds]));
  for (const [thread, seconds] of secondsByThread) {
    const use = THREADS[thread] ?? OTHER_THREADS;
    if (thread !== MAIN_THREAD) uses.set(use, (uses.get(use) ?? 0) + seconds);
  }
  return uses;
}

function figure(what: string, value: number): Figure {
  return { what, value, unit: 'µs' };
}

function jsonOf(spent: Spent, rungs: readonly Rung[]): Record<string, unknown> {
  return {
    storedWindowsPerSecond: spent.storedPerSecond,
    meterdCpuMicrosPerWindow: Object.fromEntries(spent.micros),
    clickhouseCpuMicrosPerRow: Object.fromEntries(rungs.map((rung) => [rung.what, rung.cpuMicrosPerRow])),
    clickhouseCpuMicrosPerWindow: spent.clickhouseMicros,
    exact: spent.wrong.length === 0,
  };
}
