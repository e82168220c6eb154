/**
 * How does the cost of a window grow with the number of VMs that run at once, and with what is stored already?
 *
 * Each point is a short run at the highest rate on engines of its own. Batches hold 500 VMs' windows of one minute, as a
 * relay of many hosts sends them, so that within seconds each of a million VMs has reported: that is the hardest order for
 * deduplication and for the table, since no two windows of a batch belong to one VM. A few seconds are sent before the clock
 * starts, so that no point pays for compiling code. CPU is held against what the load generator takes for the same window at the
 * same time: its work is the same at every point, so what rises with it is the machine's doing.
 *
 * Not measured: the rollup, which does not run here (`rollup` has it); hours of sending, in which large parts are merged;
 * memory that grows beyond the first minutes.
 */
import type { Bench, CaseResult, Figure } from '../case.ts';
import { compareStored, storedTally } from '../exactness.ts';
import { type Filling, fillWindows, merged } from '../fill.ts';
import type { FleetSpec } from '../generator/fleet.ts';
import { fleetSpec } from '../generator/generator.ts';
import { addTally, type Tally } from '../generator/tally.ts';
import { againstLoad, microsPerWindow, openLane, storedRate, sum, warmUp } from '../stored-rate.ts';
import { NO_JOBS, type World } from '../world.ts';

const SECONDS_MAX = 10;
const VMS_PER_BATCH = 500;
const VMS_MIN = 1000;
/** As many as the smallest fleet has hosts: more of them would cost the load generator more where there are more hosts. */
const SHAPES = VMS_MIN / VMS_PER_BATCH;
const VMS_MAX = 1_000_000;
/** The points that differ in what is stored all have so many VMs. */
const VMS_USUAL = 10_000;
const STORED_MAX = 50_000_000;
const STORED_STEPS = [0.2, 1];
/** Of what is stored before: as many days as the fleet's windows reach back, but for the last ones. */
const STORED_MINUTES = 30 * 1440;
const STORED_CUSTOMERS = 100;

/** What one run starts from. */
export interface GrowthPoint {
  readonly vms: number;
  readonly storedBefore: number;
}

interface Measured extends GrowthPoint {
  readonly windows: number;
  readonly storedWindowsPerSecond: number;
  readonly meterdCpuMicrosPerWindow: number;
  readonly clickhouseCpuMicrosPerWindow: number;
  readonly loadCpuMicrosPerWindow: number;
  readonly residentBytesMax: number;
  readonly wrong: readonly string[];
}

export async function growth(bench: Bench): Promise<CaseResult> {
  const { vms, windows } = bench.options;
  const measured: Measured[] = [];
  for (const point of growthPoints(vms ?? VMS_MAX, windows ?? STORED_MAX)) measured.push(await measure(bench, point));
  return {
    figures: figuresOf(measured),
    json: {
      points: measured.map(({ wrong, ...point }) => ({ ...point, exact: wrong.length === 0 })),
      exact: measured.every((point) => point.wrong.length === 0),
    },
    wrong: measured.flatMap((point) => point.wrong),
  };
}

/** A thousand VMs, then ten times as many each time, with nothing stored; then more and more stored with the same number of VMs. */
export function growthPoints(vmsMax: number, storedMax: number): GrowthPoint[] {
  const points: GrowthPoint[] = [{ vms: VMS_MIN, storedBefore: 0 }];
  for (let vms = VMS_MIN * 10; vms <= vmsMax; vms *= 10) points.push({ vms, storedBefore: 0 });
  const vms = Math.min(VMS_USUAL, Math.max(...points.map((point) => point.vms)));
  return [...points, ...STORED_STEPS.map((share) => ({ vms, storedBefore: Math.ceil(storedMax * share) }))];
}

async function measure(bench: Bench, point: GrowthPoint): Promise<Measured> {
  const text = inWords(point);
  const world = await bench.world();
  const before = await fill(bench, world, point.storedBefore);
  const meterd = await world.startMeterd(NO_JOBS);
  const lane = await openLane(world, meterd, [fleetOf(point.vms)]);
  bench.note(`growth: ${text} …`);
  await warmUp([lane]);
  const stored = await storedRate([lane], Math.min(SECONDS_MAX, bench.options.seconds) * 1000);
  const expected = await lane.load.tally();
  addTally(expected, before);
  const wrong = await compareStored(await world.meterdDatabase(), expected);
  await world.close();
  return {
    ...point,
    windows: stored.windows,
    storedWindowsPerSecond: stored.storedPerSecond,
    meterdCpuMicrosPerWindow: microsPerWindow(stored.usage.cpuSeconds, stored.windows),
    clickhouseCpuMicrosPerWindow: microsPerWindow(sum(stored.clickhouseCpuSeconds), stored.windows),
    loadCpuMicrosPerWindow: againstLoad(stored).value,
    residentBytesMax: stored.usage.residentBytesMax,
    wrong: wrong.map((each) => `${text}: ${each}`),
  };
}

/** @returns what is stored now */
async function fill(bench: Bench, world: World, windows: number): Promise<Tally> {
  if (windows === 0) return new Map();
  bench.note(`growth: filling ${windows.toLocaleString('en')} windows …`);
  const clickhouse = await world.meterdDatabase();
  const vms = Math.ceil(windows / STORED_MINUTES);
  const startSeconds = fleetOf(VMS_USUAL).firstMinute * 60;
  const filling: Filling = { vms, customers: Math.min(vms, STORED_CUSTOMERS), startSeconds, minutes: STORED_MINUTES };
  await fillWindows(clickhouse, filling);
  if (!(await merged(clickhouse))) bench.note('growth: ClickHouse still merges what it was filled with');
  return (await storedTally(clickhouse)).found;
}

function fleetOf(vms: number): FleetSpec {
  const hosts = Math.ceil(vms / VMS_PER_BATCH);
  return fleetSpec({ nowMs: Date.now(), hosts, vmsPerHost: VMS_PER_BATCH, minutesPerBatch: 1, shapes: SHAPES });
}

function figuresOf(measured: readonly Measured[]): Figure[] {
  const besideFirst = (what: string, unit: string, value: (point: Measured) => number): Figure[] =>
    measured.map((point) => {
      const base = baseOf(point, measured);
      const against = base === point ? {} : { against: { what: inWords(base), value: value(base) } };
      return { what: `${what}, ${inWords(point)}`, value: value(point), unit, ...against };
    });
  const besideLoad = (what: string, value: (point: Measured) => number): Figure[] =>
    measured.map((point) => ({
      what: `CPU a window, ${what}, ${inWords(point)}`,
      value: value(point),
      unit: 'µs',
      against: { what: 'load generator', value: point.loadCpuMicrosPerWindow },
    }));
  return [
    ...besideFirst('stored rate', 'windows/s', (point) => point.storedWindowsPerSecond),
    ...besideLoad('meterd', (point) => point.meterdCpuMicrosPerWindow),
    ...besideLoad('ClickHouse', (point) => point.clickhouseCpuMicrosPerWindow),
    ...besideFirst('meterd resident', 'MiB', (point) => point.residentBytesMax / 1024 ** 2),
  ];
}

/** The first point, or the one with as many VMs and nothing stored before. */
function baseOf(point: Measured, measured: readonly Measured[]): Measured {
  const sameVms = measured.find((each) => each.vms === point.vms && each.storedBefore === 0);
  return (point.storedBefore === 0 ? measured[0] : sameVms) ?? point;
}

function inWords({ vms, storedBefore }: GrowthPoint): string {
  const stored = storedBefore === 0 ? '' : `, ${storedBefore.toLocaleString('en')} stored before`;
  return `${vms.toLocaleString('en')} VMs${stored}`;
}
