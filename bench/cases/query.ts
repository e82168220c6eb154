/**
 * How soon are queries answered while windows come in?
 *
 * A month of windows is filled in by ClickHouse itself and rolled up by the service's own code. Then the load generator
 * sends at half of the stored rate that the ingest case found (or at 50,000 windows/s), into the month's last day, while
 * two callers ask by turns for a customer's month by day and for single windows.
 *
 * All windows that come in lie in the same one or two hours, so every month that is asked for holds an hour that waits for
 * the rollup and is computed from raw windows. Each caller asks its next question when it has the answer: p99 is that of
 * some hundreds of calls, whose number is told, and a slow machine gets fewer of them.
 *
 * Not measured: many callers at once; data that does not fit into the page cache; hours with gaps, overlaps or changes of
 * region, which take the general way.
 */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ClickHouseClient } from '@clickhouse/client';
import { clientOf } from '../../demo/clients.ts';
import { BillingQueryService, UsageDimension } from '../../gen/billing/v1/query_pb.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { rollUp } from '../../src/usage/rollup.ts';
import type { Bench, CaseResult } from '../case.ts';
import { filledVm, type Filling, fillWindows, merged, touchHours } from '../fill.ts';
import { fleetSpec } from '../generator/generator.ts';
import { Random } from '../generator/random.ts';
import { LoadProcess } from '../load/load-process.ts';
import { type Percentiles, percentiles } from '../load/percentiles.ts';
import type { RunResult } from '../load/messages.ts';
import type { BenchMeterd } from '../world.ts';

const WINDOWS = 50_000_000;
const WINDOWS_BRIEF = 5_000_000;
const DAYS = 30;
const DAY_MS = 86_400_000;
const MINUTES = DAYS * 1440;
const CUSTOMERS = 100;
const FOR_MS = 20_000;
const FOR_MS_BRIEF = 10_000;
const RATE_WINDOWS_PER_SECOND = 50_000;
const WINDOWS_PER_BATCH = 600;
const FLEET_FIRST_HOST = 900_000;
const TIMEOUT_MS = 1_800_000;
const P99_MS_MAX = 50;

interface Latencies extends Percentiles {
  readonly calls: number;
}

interface Measured {
  readonly month: Latencies;
  readonly window: Latencies;
  readonly run: RunResult;
}

export async function query(bench: Bench): Promise<CaseResult> {
  const { isBrief, seconds } = bench.options;
  const windows = bench.options.windows ?? (isBrief ? WINDOWS_BRIEF : WINDOWS);
  const endMs = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const vms = Math.max(CUSTOMERS, Math.ceil(windows / MINUTES));
  const startSeconds = (endMs - DAYS * DAY_MS) / 1000;
  const filling: Filling = { vms, customers: CUSTOMERS, startSeconds, minutes: MINUTES };
  const world = await bench.world();
  const clickhouse = await world.meterdDatabase();
  await fill(bench, clickhouse, filling);
  const meterd = await world.startMeterd();
  const stored = Number(bench.results['ingest']?.json['storedWindowsPerSecond'] ?? 2 * RATE_WINDOWS_PER_SECOND);
  const rate = Math.round(stored / 2);
  const forMs = Math.min(isBrief ? FOR_MS_BRIEF : FOR_MS, seconds * 1000);
  bench.note(`query: asking while ${rate.toLocaleString('en')} windows/s come in …`);
  const { month, window, run } = await measure(meterd, filling, rate, forMs);
  return {
    figures: [
      { what: 'stored', value: vms * MINUTES, unit: 'windows' },
      { what: 'coming in', value: (run.windows * 1000) / run.elapsedMs, unit: 'windows/s' },
      { what: 'GetCustomerUsage, month by day, p50', value: month.p50Ms, unit: 'ms' },
      { what: 'GetCustomerUsage, month by day, p99', value: month.p99Ms, unit: 'ms', target: { atMost: P99_MS_MAX } },
      { what: 'GetBillingWindow p50', value: window.p50Ms, unit: 'ms' },
      { what: 'GetBillingWindow p99', value: window.p99Ms, unit: 'ms', target: { atMost: P99_MS_MAX } },
    ],
    json: {
      windows: vms * MINUTES,
      offeredWindowsPerSecond: rate,
      usageP50Ms: month.p50Ms,
      usageP99Ms: month.p99Ms,
      windowP50Ms: window.p50Ms,
      windowP99Ms: window.p99Ms,
      usageCalls: month.calls,
      windowCalls: window.calls,
    },
    wrong: [],
    remarks: [`of ${month.calls} calls of GetCustomerUsage and ${window.calls} of GetBillingWindow`],
  };
}

async function fill(bench: Bench, clickhouse: ClickHouseClient, filling: Filling): Promise<void> {
  bench.note(`query: filling ${(filling.vms * MINUTES).toLocaleString('en')} windows …`);
  await fillWindows(clickhouse, filling);
  bench.note('query: rolling them up …');
  await touchHours(clickhouse, filling);
  await rollUp({ clickhouse, clock: systemClock, signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!(await merged(clickhouse))) bench.note('query: ClickHouse still merges what it was filled with');
}

async function measure(meterd: BenchMeterd, filling: Filling, rate: number, forMs: number): Promise<Measured> {
  const target = { url: meterd.url, key: meterd.collectorKey, connections: 8 };
  const lastDay = filling.startSeconds / 60 + MINUTES - 1440;
  const spec = fleetSpec({ nowMs: Date.now(), firstHost: FLEET_FIRST_HOST, hosts: 1024, firstMinute: lastDay });
  const load = await LoadProcess.start(target, [spec]);
  try {
    const running = load.run({
      fleet: 0,
      pace: { kind: 'open', callsPerSecond: rate / WINDOWS_PER_BATCH, inFlightMax: 512 },
      forMs,
      batchesMax: Number.MAX_SAFE_INTEGER,
      resends: false,
    });
    const untilMs = performance.now() + forMs;
    const [run, month, window] = await Promise.all([
      running,
      timed(untilMs, usageOfMonth(meterd, filling)),
      timed(untilMs, oneWindow(meterd, filling)),
    ]);
    return { month, window, run };
  } finally {
    load.stop();
  }
}

/** Asks again and again, one question after the other. */
async function timed(untilMs: number, ask: () => Promise<void>): Promise<Latencies> {
  const latenciesMs: number[] = [];
  while (performance.now() < untilMs) {
    const askedMs = performance.now();
    await ask();
    latenciesMs.push(performance.now() - askedMs);
  }
  return { ...percentiles(latenciesMs), calls: latenciesMs.length };
}

function usageOfMonth(meterd: BenchMeterd, filling: Filling): () => Promise<void> {
  const queries = clientOf(BillingQueryService, meterd.url, meterd.adminKey);
  const random = new Random(1);
  const start = timestampFromMs(filling.startSeconds * 1000);
  const end = timestampFromMs(filling.startSeconds * 1000 + DAYS * DAY_MS);
  return async () => {
    const { customerId } = filledVm(filling, random.below(filling.vms));
    const { groups } = await queries.getCustomerUsage({ customerId, start, end, groupBy: [UsageDimension.DAY] });
    if (groups.length !== DAYS) throw new Error(`${customerId} has usage on ${groups.length} days, not on ${DAYS}`);
  };
}

function oneWindow(meterd: BenchMeterd, filling: Filling): () => Promise<void> {
  const queries = clientOf(BillingQueryService, meterd.url, meterd.adminKey);
  const random = new Random(2);
  return async () => {
    const startMs = (filling.startSeconds + 60 * random.below(MINUTES)) * 1000;
    const found = filledVm(filling, random.below(filling.vms));
    await queries.getBillingWindow({ ...found, windowStart: timestampFromMs(startMs) });
  };
}
