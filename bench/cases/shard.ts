/**
 * What does a second ClickHouse add?
 *
 * The same fleet at the highest rate into three arrangements: one meterd with one ClickHouse; two, each with a ClickHouse, a
 * spool and customers of its own; and one meterd whose table of windows is spread over two ClickHouses by customer. All of it
 * runs on this one machine, so the rate shows what a second ClickHouse adds to the cores that are there. What it would add
 * with cores of its own follows from the CPU that a window costs each of them, held against what the load generator takes for
 * it at the same time: that is the same work in every arrangement, whatever the machine does meanwhile.
 *
 * Not measured: machines apart, and the network between them; replicas; queries and the rollup over shards.
 */
import type { Bench, CaseResult, Figure } from '../case.ts';
import { compareStored, windowsOf } from '../exactness.ts';
import { fleetSpec } from '../generator/generator.ts';
import { clusterConfigs, joinShards, rowsInShard } from '../shards.ts';
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
import { NO_JOBS, type World } from '../world.ts';

const SECONDS_MAX = 15;
const CUSTOMERS = 500;
const HOSTS_APART = 100_000;

interface Arrangement {
  readonly name: string;
  readonly stored: Stored;
  /** By ClickHouse, the share of the rows that it holds. */
  readonly shares: readonly number[];
  readonly wrong: readonly string[];
}

export async function shard(bench: Bench): Promise<CaseResult> {
  const arrangements = [await apart(bench, 'one', 1), await apart(bench, 'two apart', 2), await spread(bench)];
  const wrong = arrangements.flatMap((each) => each.wrong.map((text) => `${each.name}: ${text}`));
  return {
    figures: figuresOf(arrangements),
    json: { arrangements: arrangements.map(jsonOf), exact: wrong.length === 0 },
    wrong,
    remarks: [
      'CPU of a shard is by window that it stores; the first of those spread also takes and forwards the others',
    ],
  };
}

/** So many meterds that know nothing of each other, each with a ClickHouse and customers of its own. */
async function apart(bench: Bench, name: string, count: number): Promise<Arrangement> {
  const lanes: Lane[] = [];
  for (let i = 0; i < count; i++) {
    const world = await bench.world();
    const fleet = { firstHost: i * HOSTS_APART, customers: CUSTOMERS, firstCustomer: 1 + i * CUSTOMERS };
    lanes.push(await openLane(world, await world.startMeterd(NO_JOBS), [fleetSpec({ nowMs: Date.now(), ...fleet })]));
  }
  const stored = await measure(bench, name, lanes);
  const wrong: string[] = [];
  const rows: number[] = [];
  for (const { world, load } of lanes) {
    const tally = await load.tally();
    wrong.push(...(await compareStored(await world.meterdDatabase(), tally)));
    rows.push(windowsOf(tally));
  }
  await Promise.all(lanes.map((lane) => lane.world.close()));
  return { name, stored, shares: sharesOf(rows), wrong };
}

/** One meterd, whose windows lie in two ClickHouses. */
async function spread(bench: Bench): Promise<Arrangement> {
  const name = 'two, spread';
  const [firstConfig, secondConfig] = await clusterConfigs();
  const first = await bench.world(firstConfig);
  const second = await bench.world(secondConfig);
  const worlds = [first, second];
  await joinShards(first, second);
  const lane = await openLane(first, await first.startMeterd(NO_JOBS), [fleetSpec({ nowMs: Date.now() })]);
  const stored = await measure(bench, name, [lane], worlds);
  const wrong = await compareStored(await first.meterdDatabase(), await lane.load.tally());
  const rows = await Promise.all(worlds.map(rowsInShard));
  await Promise.all(worlds.map((world) => world.close()));
  return { name, stored, shares: sharesOf(rows), wrong };
}

async function measure(
  bench: Bench,
  name: string,
  lanes: readonly Lane[],
  besides: readonly World[] = [],
): Promise<Stored> {
  bench.note(`shard: ${name} …`);
  await warmUp(lanes);
  return storedRate(lanes, Math.min(SECONDS_MAX, bench.options.seconds) * 1000, besides);
}

function sharesOf(rows: readonly number[]): number[] {
  return rows.map((each) => each / sum(rows));
}

/** By ClickHouse, CPU in microseconds for each window that it stores. */
function shardMicros({ stored, shares }: Arrangement): number[] {
  return stored.clickhouseCpuSeconds.map((seconds, i) => microsPerWindow(seconds, stored.windows * (shares[i] ?? 0)));
}

function figuresOf(arrangements: readonly Arrangement[]): Figure[] {
  const one = arrangements[0]?.stored.storedPerSecond ?? Number.NaN;
  return [
    ...arrangements.map(({ name, stored }) => ({
      what: `stored rate, ${name}`,
      value: stored.storedPerSecond,
      unit: 'windows/s',
      against: { what: 'one', value: one },
    })),
    ...arrangements.map(({ name, stored }) => ({
      what: `CPU a window, meterd, ${name}`,
      value: microsPerWindow(stored.usage.cpuSeconds, stored.windows),
      unit: 'µs',
      against: againstLoad(stored),
    })),
    ...arrangements.flatMap((each) =>
      shardMicros(each).map((value, i) => ({
        what: `CPU a window, ClickHouse ${i + 1}, ${each.name}`,
        value,
        unit: 'µs',
        against: againstLoad(each.stored),
      })),
    ),
  ];
}

function jsonOf(arrangement: Arrangement): object {
  const { name, stored, shares, wrong } = arrangement;
  return {
    name,
    storedWindowsPerSecond: stored.storedPerSecond,
    meterdCpuMicrosPerWindow: microsPerWindow(stored.usage.cpuSeconds, stored.windows),
    clickhouseCpuMicrosPerWindow: shardMicros(arrangement),
    loadCpuMicrosPerWindow: againstLoad(stored).value,
    shares,
    exact: wrong.length === 0,
  };
}
