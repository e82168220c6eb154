import type { FleetSpec } from './generator/fleet.ts';
import { LoadProcess } from './load/load-process.ts';
import type { RunRequest, RunResult } from './load/messages.ts';
import { cpuSecondsOf, type ProcessUsage, UsageWatch } from './process-usage.ts';
import type { BenchMeterd, World } from './world.ts';

const CONNECTIONS = 8;
const IN_FLIGHT = 32;
const WARM_MS = 3000;

/** A meterd with a load generator of its own; lanes may share a world, and with it ClickHouse and PostgreSQL. */
export interface Lane {
  readonly world: World;
  readonly meterd: BenchMeterd;
  readonly load: LoadProcess;
}

/** What came of sending as fast as batches are acknowledged until all of it is stored; sums over the lanes. */
export interface Stored {
  /** Distinct windows that were acknowledged. */
  readonly windows: number;
  /** From the first call until all of it is to be seen in ClickHouse. */
  readonly storedPerSecond: number;
  readonly ackedPerSecond: number;
  /** Windows that the service counted as such. */
  readonly duplicates: number;
  readonly refusals: number;
  readonly loadCpuSeconds: number;
  /** Of all meterds together. */
  readonly usage: ProcessUsage;
  /** By ClickHouse: the worlds of the lanes in their order, then those given besides. */
  readonly clickhouseCpuSeconds: readonly number[];
}

/** How hosts of the bench reach a meterd: so many connections, beside each other. */
export function startLoad(target: { url: string; key: string }, fleets: readonly FleetSpec[]): Promise<LoadProcess> {
  return LoadProcess.start({ ...target, connections: CONNECTIONS }, fleets);
}

/** Puts a load generator beside a meterd; it leaves when the world closes. */
export async function openLane(world: World, meterd: BenchMeterd, fleets: readonly FleetSpec[]): Promise<Lane> {
  const load = await startLoad({ url: meterd.url, key: meterd.collectorKey }, fleets);
  world.onClose(() => Promise.resolve(load.stop()));
  return { world, meterd, load };
}

/** The next call starts when one ends, until the time is over or `batchesMax` are sent. */
export function atHighestRate(fleet: number, forMs: number, batchesMax = Number.MAX_SAFE_INTEGER): RunRequest {
  return { fleet, pace: { kind: 'closed', inFlight: IN_FLIGHT }, forMs, batchesMax, resends: true };
}

/** Sends for some seconds, so that what is measured next does not pay for compiling code and preparing files. */
export async function warmUp(lanes: readonly Lane[]): Promise<void> {
  await Promise.all(lanes.map((lane) => sendAndStore(lane, WARM_MS)));
}

/**
 * Sends the first fleet of every lane at the highest rate, all at once.
 * @param besides worlds whose ClickHouse works for the lanes without being theirs
 */
export async function storedRate(
  lanes: readonly Lane[],
  forMs: number,
  besides: readonly World[] = [],
): Promise<Stored> {
  const clickhouses = [...new Set([...lanes.map((lane) => lane.world), ...besides])].map((each) => each.clickhousePid);
  const cpuBefore = clickhouses.map(cpuSecondsOf);
  const watches = lanes.map(({ meterd }) => new UsageWatch(meterd.pid));
  const startedMs = performance.now();
  const runs = await Promise.all(lanes.map((lane) => sendAndStore(lane, forMs)));
  const seconds = (performance.now() - startedMs) / 1000;
  const usages = watches.map((watch) => watch.stop());
  const clickhouseCpuSeconds = clickhouses.map((pid, i) => cpuSecondsOf(pid) - (cpuBefore[i] ?? 0));
  return { ...sumsOf(runs, seconds), usage: sumOfUsages(usages), clickhouseCpuSeconds };
}

/** In microseconds, to three digits. */
export function microsPerWindow(cpuSeconds: number, windows: number): number {
  return Number(((cpuSeconds * 1_000_000) / windows).toPrecision(3));
}

/** What figures of CPU are held against where several runs are compared: the same work whatever the machine does. */
export function againstLoad({ loadCpuSeconds, windows }: Stored): { what: string; value: number } {
  return { what: 'load generator', value: microsPerWindow(loadCpuSeconds, windows) };
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

async function sendAndStore({ load, meterd, world }: Lane, forMs: number): Promise<RunResult> {
  const run = await load.run(atHighestRate(0, forMs));
  await world.drained(meterd);
  return run;
}

function sumsOf(runs: readonly RunResult[], seconds: number): Omit<Stored, 'usage' | 'clickhouseCpuSeconds'> {
  const windows = sum(runs.map((run) => run.windows));
  return {
    windows,
    storedPerSecond: windows / seconds,
    ackedPerSecond: (windows * 1000) / Math.max(...runs.map((run) => run.elapsedMs)),
    duplicates: sum(runs.map((run) => run.duplicate)),
    refusals: sum(runs.map((run) => run.refusals)),
    loadCpuSeconds: sum(runs.map((run) => run.cpuSeconds)),
  };
}

function sumOfUsages(usages: readonly ProcessUsage[]): ProcessUsage {
  return {
    cpuSeconds: sum(usages.map((usage) => usage.cpuSeconds)),
    residentBytesMax: sum(usages.map((usage) => usage.residentBytesMax)),
    residentBytesPerSecond: sum(usages.map((usage) => usage.residentBytesPerSecond)),
  };
}
