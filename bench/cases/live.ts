/**
 * How soon after its ack does a window reach those who watch?
 *
 * A thousand live streams, ten for each of a hundred customers, over ten connections, while four senders send batches of
 * ten windows for one customer after the other. Latency counts to the moment at which the update is decoded, in one
 * process for senders and streams: from the ack, and from the start of the call, since an update may well arrive first.
 * Every stream must get every window of its customer.
 *
 * Not measured: a server under full load, slow readers, resuming.
 */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { setTimeout as wait } from 'node:timers/promises';
import { clientOf } from '../../demo/clients.ts';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { BillingQueryService } from '../../gen/billing/v1/query_pb.ts';
import type { Bench, CaseResult } from '../case.ts';
import { percentiles } from '../load/percentiles.ts';
import type { BenchMeterd } from '../world.ts';

const SUBSCRIBERS = 1000;
const CONNECTIONS = 10;
const CUSTOMERS = 100;
const FOR_MS = 10_000;
const SENDERS = 4;
const SEND_EVERY_MS = 10;
const WINDOWS_PER_BATCH = 10;
/** How long after the last ack updates are waited for. */
const ARRIVAL_TIMEOUT_MS = 10_000;
const POLL_MS = 10;
const P99_MS_MAX = 500;

/** What was sent, by VM, and what came of it. */
interface Watch {
  readonly sentAtMs: Map<string, number>;
  readonly ackedAtMs: Map<string, number>;
  readonly arrivals: { readonly vmId: string; readonly atMs: number }[];
  opened: number;
}

export async function live(bench: Bench): Promise<CaseResult> {
  const world = await bench.world();
  const meterd = await world.startMeterd({ METERD_LIVE_SUBSCRIBERS_MAX: String(SUBSCRIBERS) });
  const watch: Watch = { sentAtMs: new Map(), ackedAtMs: new Map(), arrivals: [], opened: 0 };
  const leave = new AbortController();
  bench.note(`live: opening ${SUBSCRIBERS} streams …`);
  const streams = openStreams(meterd, watch, leave.signal);
  const failed = Promise.all(streams).then(() => new Promise<never>(() => undefined));
  await Promise.race([until(() => watch.opened === SUBSCRIBERS, 'streams to open'), failed]);
  bench.note('live: sending …');
  const sent = await Promise.race([sendBatches(meterd, watch, Math.min(FOR_MS, bench.options.seconds * 1000)), failed]);
  const expected = sent * (SUBSCRIBERS / CUSTOMERS);
  // Updates that are still missing after that time are told of below, as wrong.
  await Promise.race([until(() => watch.arrivals.length >= expected, 'updates').catch(() => undefined), failed]);
  leave.abort();
  await Promise.all(streams);
  const { p50Ms, p99Ms, maxMs } = percentiles(latenciesFrom(watch.ackedAtMs, watch));
  const fromSend = percentiles(latenciesFrom(watch.sentAtMs, watch));
  const arrived = watch.arrivals.length;
  return {
    figures: [
      { what: 'streams', value: SUBSCRIBERS, unit: '' },
      { what: 'updates', value: arrived, unit: '' },
      { what: 'ack to update p50', value: p50Ms, unit: 'ms' },
      { what: 'ack to update p99', value: p99Ms, unit: 'ms', target: { atMost: P99_MS_MAX } },
      { what: 'ack to update, longest', value: maxMs, unit: 'ms' },
      { what: 'call to update p50', value: fromSend.p50Ms, unit: 'ms' },
      { what: 'call to update p99', value: fromSend.p99Ms, unit: 'ms' },
    ],
    json: {
      subscribers: SUBSCRIBERS,
      updates: arrived,
      p50Ms,
      p99Ms,
      maxMs,
      fromCallP99Ms: fromSend.p99Ms,
      exact: arrived === expected,
    },
    wrong: arrived === expected ? [] : [`of ${expected} updates ${arrived} arrived`],
  };
}

function openStreams(meterd: BenchMeterd, watch: Watch, signal: AbortSignal): Promise<void>[] {
  const clients = Array.from({ length: CONNECTIONS }, () => clientOf(BillingQueryService, meterd.url, meterd.adminKey));
  return Array.from({ length: SUBSCRIBERS }, async (_, subscriber) => {
    const client = clients[subscriber % CONNECTIONS];
    if (client === undefined) throw new Error('there is no connection');
    let isOpen = false;
    try {
      const customerId = customerOf(Math.floor((subscriber * CUSTOMERS) / SUBSCRIBERS));
      for await (const { usage } of client.streamLiveUsage({ customerId }, { signal })) {
        const atMs = performance.now();
        // The first update comes at once: from here on nothing is missed.
        if (!isOpen) watch.opened++;
        isOpen = true;
        for (const { vmId } of usage) watch.arrivals.push({ vmId, atMs });
      }
    } catch (reason) {
      if (!signal.aborted) throw reason;
    }
  });
}

/** 0 where the update came first. */
function latenciesFrom(startedAtMs: ReadonlyMap<string, number>, { arrivals }: Watch): number[] {
  return arrivals.map(({ vmId, atMs }) => Math.max(0, atMs - (startedAtMs.get(vmId) ?? atMs)));
}

/** @returns how many batches were acknowledged */
async function sendBatches(meterd: BenchMeterd, watch: Watch, forMs: number): Promise<number> {
  const untilMs = performance.now() + forMs;
  const sender = async (): Promise<void> => {
    const collector = clientOf(BillingCollectorService, meterd.url, meterd.collectorKey);
    while (performance.now() < untilMs) {
      const batch = watch.sentAtMs.size;
      const vmId = `vm-${batch}`;
      watch.sentAtMs.set(vmId, performance.now());
      const metrics = windowsOf(vmId, customerOf(batch % CUSTOMERS));
      const { accepted } = await collector.sendMetricsBatch({ metrics });
      watch.ackedAtMs.set(vmId, performance.now());
      if (accepted !== WINDOWS_PER_BATCH) throw new Error(`${accepted} of ${WINDOWS_PER_BATCH} windows were accepted`);
      await wait(SEND_EVERY_MS);
    }
  };
  await Promise.all(Array.from({ length: SENDERS }, sender));
  return watch.ackedAtMs.size;
}

/** Each batch is of a VM of its own. */
function windowsOf(vmId: string, customerId: string) {
  const firstMs = Math.floor(Date.now() / 60_000) * 60_000 - 3_600_000;
  return Array.from({ length: WINDOWS_PER_BATCH }, (_, minute) => ({
    vmId,
    customerId,
    region: 'us-east1',
    windowStart: timestampFromMs(firstMs + minute * 60_000),
    windowEnd: timestampFromMs(firstMs + (minute + 1) * 60_000),
    cpuTimeNanos: 60_000_000_000n,
  }));
}

/** @throws Error where it takes too long */
async function until(isDone: () => boolean, what: string): Promise<void> {
  const untilMs = performance.now() + ARRIVAL_TIMEOUT_MS;
  while (!isDone()) {
    if (performance.now() > untilMs) throw new Error(`waited ${ARRIVAL_TIMEOUT_MS / 1000} s for ${what}`);
    await wait(POLL_MS);
  }
}

function customerOf(index: number): string {
  return `live-${index}`;
}
