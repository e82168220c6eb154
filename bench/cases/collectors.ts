/**
 * Do two processes that collect store more than one does on this machine, and would worker threads pay?
 *
 * One, then two meterds of the role collector, each with a spool and a load generator of its own, store into one ClickHouse
 * beside a meterd for everything else, at the highest rate; CPU is held against what the load generator takes for the same
 * window. Then, in this process: what a batch costs from its bytes to its
 * rows, beside what giving it to another thread and getting it back costs.
 *
 * Not measured: machines with cores to spare; a balancer in front; threads that share what deduplication remembers.
 */
import type { Bench, CaseResult } from '../case.ts';
import { compareStored } from '../exactness.ts';
import { fleetSpec } from '../generator/generator.ts';
import { addTally, type Tally } from '../generator/tally.ts';
import { handoffCost } from '../handoff/handoff.ts';
import {
  againstLoad,
  type Lane,
  microsPerWindow,
  openLane,
  type Stored,
  storedRate,
  sum,
  warmUp,
} from '../stored-rate.ts';
import { NO_JOBS } from '../world.ts';

const SECONDS_MAX = 20;
/** Each fleet's VMs are its own. */
const HOSTS_APART = 100_000;
const HANDOFF_BATCHES = 4000;

interface Measured {
  readonly name: string;
  readonly stored: Stored;
  readonly wrong: readonly string[];
}

export async function collectors(bench: Bench): Promise<CaseResult> {
  const one = await measure(bench, 'one', 1);
  const two = await measure(bench, 'two', 2);
  bench.note('collectors: giving batches to a worker thread …');
  const handoff = await handoffCost(HANDOFF_BATCHES);
  const wrong = [...one.wrong, ...two.wrong];
  const runs = [one, two];
  return {
    figures: [
      ...runs.map(({ name, stored }) => ({
        what: `acknowledged rate, ${name}`,
        value: stored.ackedPerSecond,
        unit: 'windows/s',
        against: { what: 'one', value: one.stored.ackedPerSecond },
      })),
      ...runs.map(({ name, stored }) => ({
        what: `stored rate, ${name}`,
        value: stored.storedPerSecond,
        unit: 'windows/s',
        against: { what: 'one', value: one.stored.storedPerSecond },
      })),
      ...runs.flatMap((run) => [
        {
          what: `CPU a window, ${run.name}`,
          value: collectorMicros(run),
          unit: 'µs',
          against: againstLoad(run.stored),
        },
        {
          what: `CPU a window, ClickHouse, ${run.name}`,
          value: clickhouseMicros(run),
          unit: 'µs',
          against: againstLoad(run.stored),
        },
      ]),
      { what: 'a batch from bytes to rows', value: handoff.acceptMicros, unit: 'µs' },
      {
        what: 'giving it away, for the giver',
        value: handoff.givingMicros,
        unit: 'µs',
        against: { what: 'bytes to rows', value: handoff.acceptMicros },
      },
      { what: 'giving it away, both threads', value: handoff.bothMicros, unit: 'µs' },
    ],
    json: { runs: runs.map(jsonOf), ...handoff, exact: wrong.length === 0 },
    wrong,
  };
}

async function measure(bench: Bench, name: string, count: number): Promise<Measured> {
  const world = await bench.world();
  const front = await world.startMeterd({ METERD_ROLES: 'query,jobs', ...NO_JOBS });
  const lanes: Lane[] = [];
  for (let i = 0; i < count; i++) {
    const fleet = fleetSpec({ nowMs: Date.now(), firstHost: i * HOSTS_APART });
    lanes.push(await openLane(world, await world.startCollector(front), [fleet]));
  }
  bench.note(`collectors: ${name} …`);
  await warmUp(lanes);
  const stored = await storedRate(lanes, Math.min(SECONDS_MAX, bench.options.seconds) * 1000);
  const expected: Tally = new Map();
  for (const { load } of lanes) addTally(expected, await load.tally());
  const wrong = await compareStored(await world.meterdDatabase(), expected);
  await world.close();
  return { name, stored, wrong };
}

function collectorMicros({ stored }: Measured): number {
  return microsPerWindow(stored.usage.cpuSeconds, stored.windows);
}

function clickhouseMicros({ stored }: Measured): number {
  return microsPerWindow(sum(stored.clickhouseCpuSeconds), stored.windows);
}

function jsonOf(measured: Measured): object {
  const { name, stored, wrong } = measured;
  return {
    name,
    storedWindowsPerSecond: stored.storedPerSecond,
    ackedWindowsPerSecond: stored.ackedPerSecond,
    meterdCpuMicrosPerWindow: collectorMicros(measured),
    clickhouseCpuMicrosPerWindow: clickhouseMicros(measured),
    loadCpuMicrosPerWindow: againstLoad(stored).value,
    residentBytesMax: stored.usage.residentBytesMax,
    exact: wrong.length === 0,
  };
}
