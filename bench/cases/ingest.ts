/**
 * How many windows a second does meterd store for good, and how soon does it acknowledge them?
 *
 * Measured over the whole path: HTTP/2, decoding, deduplication, fsync, ack, ClickHouse; the load generator runs on the
 * same machine and takes its share of it. Every figure of speed stands beside the ceiling of the same run: the same
 * rows inserted into the same ClickHouse with nothing else running.
 *
 * Not measured: networks, TLS, JSON, more than one machine, disks other than this one.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import type { Bench, CaseResult } from '../case.ts';
import { compareStored, windowsOf } from '../exactness.ts';
import { fleetSpec } from '../generator/generator.ts';
import type { FleetSpec } from '../generator/fleet.ts';
import type { LoadProcess } from '../load/load-process.ts';
import type { RunResult } from '../load/messages.ts';
import { cpuSecondsOf } from '../process-usage.ts';
import { rawInserts } from '../raw-insert.ts';
import { atHighestRate, microsPerWindow, openLane, startLoad, storedRate } from '../stored-rate.ts';
import { textbookRate } from '../textbook.ts';
import type { BenchMeterd, World } from '../world.ts';
import { type Driven, figuresOf, jsonOf, latencyFigures, type Rates, type Storage } from './ingest-report.ts';

const OFFERED_WINDOWS_PER_SECOND = 50_000;
const OPEN_IN_FLIGHT_MAX = 512;
const SMALL_IN_FLIGHT = 64;
const VMS_PER_HOST = 60;
const WINDOWS_PER_BATCH = 600;
/** Hosts from here on send the small batches. */
const SMALL_FIRST_HOST = 500_000;
const STORAGE_VMS_PER_HOST = 60;
const STORAGE_TIMEOUT_MS = 300_000;
const STORAGE_WINDOWS = 2_000_000;
const STORAGE_WINDOWS_BRIEF = 500_000;

/** Numbers in the load generator's list of fleets. */
const FLEETS = { large: 0, small: 1, none: -1 } as const;

export async function ingest(bench: Bench): Promise<CaseResult> {
  const { remote, windows, isBrief } = bench.options;
  if (remote !== undefined) return ingestElsewhere(bench, remote);
  const fleets = fleetsOf(bench.options.vms);
  const world = await bench.world();
  const rates = await baselines(bench, world, fleets.large);
  const driven = await drive(bench, world, fleets);
  const { stored } = driven;
  await world.close();
  bench.note('ingest: bytes per window on disk …');
  const storage = await storedBytes(bench, windows ?? (isBrief ? STORAGE_WINDOWS_BRIEF : STORAGE_WINDOWS));
  return {
    figures: figuresOf(rates, driven, storage.bytesPerWindow),
    json: jsonOf(rates, driven, storage),
    wrong: [...driven.wrong, ...storage.wrong],
    remarks: [
      `${driven.windows.toLocaleString('en')} windows acknowledged and compared, resends included`,
      `the load generator took ${microsPerWindow(stored.loadCpuSeconds, stored.windows)} µs of CPU a window`,
    ],
  };
}

function fleetsOf(vms: number | undefined): { large: FleetSpec; small: FleetSpec } {
  const nowMs = Date.now();
  const large = fleetSpec({ nowMs, ...(vms === undefined ? {} : { hosts: Math.ceil(vms / VMS_PER_HOST) }) });
  const small = fleetSpec({ nowMs, hosts: 1024, firstHost: SMALL_FIRST_HOST, vmsPerHost: 10, minutesPerBatch: 1 });
  return { large, small };
}

/** What the same rows cost with nothing else running: at best, and as one writes it first. */
async function baselines(bench: Bench, world: World, spec: FleetSpec): Promise<Rates> {
  const forMs = Math.min(8000, bench.options.seconds * 500);
  bench.note('ingest: the ceiling, raw inserts …');
  let ceiling = 0;
  for (const lanes of [1, 2]) {
    const clickhouse = await world.clickhouse(`ceiling_${lanes}`);
    const { perSecond } = await rawInserts(clickhouse, spec, { forMs, lanes });
    ceiling = Math.max(ceiling, perSecond);
    await clickhouse.command({ query: `DROP DATABASE ceiling_${lanes} SYNC` });
  }
  bench.note('ingest: the textbook pipeline …');
  const clickhouse = await world.clickhouse('textbook');
  const textbook = await textbookRate(clickhouse, spec, forMs);
  await clickhouse.command({ query: 'DROP DATABASE textbook SYNC' });
  return { ceiling, textbook };
}

async function drive(bench: Bench, world: World, fleets: { large: FleetSpec; small: FleetSpec }): Promise<Driven> {
  const meterd = await world.startMeterd();
  const lane = await openLane(world, meterd, [fleets.large, fleets.small]);
  const { load } = lane;
  const forMs = Math.min(15_000, bench.options.seconds * 1000);
  bench.note(`ingest: the stored rate, for ${bench.options.seconds} s …`);
  const stored = await storedRate([lane], bench.options.seconds * 1000);
  bench.note(`ingest: acks at ${OFFERED_WINDOWS_PER_SECOND.toLocaleString('en')} windows/s offered …`);
  const offered = await atOfferedRate(load, forMs);
  await world.drained(meterd);
  bench.note('ingest: the same while ClickHouse stands still …');
  const standing = await world.whileClickHouseStands(() => atOfferedRate(load, forMs));
  await world.drained(meterd);
  bench.note('ingest: small batches …');
  const smallCpuMs = await cpuMsPerCall(meterd, load, FLEETS.small, forMs / 4);
  await world.drained(meterd);
  const emptyCpuMs = await cpuMsPerCall(meterd, load, FLEETS.none, forMs / 4);
  bench.note('ingest: comparing what is stored with what was sent …');
  const tally = await load.tally();
  const wrong = await compareStored(await world.meterdDatabase(), tally);
  return { stored, offered, standing, smallCpuMs, emptyCpuMs, windows: windowsOf(tally), wrong };
}

function atOfferedRate(load: LoadProcess, forMs: number): Promise<RunResult> {
  const callsPerSecond = OFFERED_WINDOWS_PER_SECOND / WINDOWS_PER_BATCH;
  return load.run({
    fleet: FLEETS.large,
    pace: { kind: 'open', callsPerSecond, inFlightMax: OPEN_IN_FLIGHT_MAX },
    forMs,
    batchesMax: Number.MAX_SAFE_INTEGER,
    resends: false,
  });
}

/** CPU of meterd a call, in milliseconds, while calls come as fast as they are answered. */
async function cpuMsPerCall(meterd: BenchMeterd, load: LoadProcess, fleet: number, forMs: number): Promise<number> {
  const cpuBefore = cpuSecondsOf(meterd.pid);
  const run = await load.run({
    fleet,
    pace: { kind: 'closed', inFlight: SMALL_IN_FLIGHT },
    forMs,
    batchesMax: Number.MAX_SAFE_INTEGER,
    resends: false,
  });
  return ((cpuSecondsOf(meterd.pid) - cpuBefore) * 1000) / run.calls;
}

/** On data of which no two batches repeat each other's values, merged into as few parts as can be. */
async function storedBytes(bench: Bench, windows: number): Promise<Storage> {
  const world = await bench.world();
  const meterd = await world.startMeterd();
  // Each host sends half a day or so: long runs of one VM, as a table has them.
  const hosts = Math.ceil(windows / (STORAGE_VMS_PER_HOST * 720));
  const spec = fleetSpec({ nowMs: Date.now(), hosts, vmsPerHost: STORAGE_VMS_PER_HOST, shapes: undefined });
  const { load } = await openLane(world, meterd, [spec]);
  const all = atHighestRate(FLEETS.large, STORAGE_TIMEOUT_MS, Math.ceil(windows / WINDOWS_PER_BATCH));
  await load.run({ ...all, resends: false });
  await world.drained(meterd);
  const clickhouse = await world.meterdDatabase();
  // As the large parts of a table are; small ones are one file, whose columns ClickHouse does not tell apart.
  await clickhouse.command({ query: 'ALTER TABLE windows MODIFY SETTING min_bytes_for_wide_part = 0' });
  await clickhouse.command({ query: 'OPTIMIZE TABLE windows FINAL' });
  const stored = { ...(await sizesOf(clickhouse)), wrong: await compareStored(clickhouse, await load.tally()) };
  await world.close();
  return stored;
}

async function sizesOf(clickhouse: ClickHouseClient): Promise<Omit<Storage, 'wrong'>> {
  const ofWindows = `database = currentDatabase() AND table = 'windows' AND active`;
  const whole = await clickhouse.query({
    query: `SELECT sum(bytes_on_disk) / sum(rows) AS bytes FROM system.parts WHERE ${ofWindows}`,
    format: 'JSONEachRow',
  });
  const columns = await clickhouse.query({
    query: `SELECT column, round(sum(column_bytes_on_disk) / sum(rows), 2) AS bytes FROM system.parts_columns
      WHERE ${ofWindows} GROUP BY column ORDER BY bytes DESC`,
    format: 'JSONEachRow',
  });
  const [row] = await whole.json<{ bytes: number }>();
  const byColumn = (await columns.json<{ column: string; bytes: number }>()).map((each) => [each.column, each.bytes]);
  return { bytesPerWindow: row?.bytes ?? Number.NaN, bytesByColumn: Object.fromEntries(byColumn) };
}

/** What can be said of a meterd whose machine is not to be seen: the rate of acks and their latency. */
async function ingestElsewhere(bench: Bench, { url, key }: { url: string; key: string }): Promise<CaseResult> {
  const { large } = fleetsOf(bench.options.vms);
  // Each run reports VMs of its own: the same windows again would be duplicates.
  const firstHost = Math.floor(Date.now() / 1000) % SMALL_FIRST_HOST;
  const load = await startLoad({ url, key }, [{ ...large, firstHost }]);
  try {
    const forMs = bench.options.seconds * 1000;
    const run = await load.run(atHighestRate(FLEETS.large, forMs));
    const offered = await atOfferedRate(load, Math.min(15_000, forMs));
    const acked = (run.windows * 1000) / run.elapsedMs;
    return {
      figures: [{ what: 'acknowledged rate', value: acked, unit: 'windows/s' }, ...latencyFigures('ack', offered, 1)],
      json: { ackedWindowsPerSecond: acked, ackP50Ms: offered.p50Ms, ackP99Ms: offered.p99Ms },
      wrong: [],
      remarks: ['what is stored there cannot be compared from here'],
    };
  } finally {
    load.stop();
  }
}
