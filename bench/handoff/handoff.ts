import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { fromBinary } from '@bufbuild/protobuf';
import { SendMetricsBatchRestSchema } from '../../gen/meterd/internal/v1/raw_pb.ts';
import { Ingest } from '../../src/ingest/accept-batch.ts';
import { RecentWindows } from '../../src/ingest/dedup.ts';
import { splitBatch } from '../../src/ingest/wire-batch.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { fleetSpec, Generator } from '../generator/generator.ts';
import { fillRequest } from '../generator/request-template.ts';

const WORKER = fileURLToPath(new URL('echo-worker.ts', import.meta.url));
const SENDER = { credentialId: 'bench', regions: undefined, customerIds: undefined, backfill: false };
const BODY_BYTES_MAX = 1024 * 1024;
const IN_FLIGHT = 32;
/** Sent before the clock starts, so that code is compiled. */
const WARM_SHARE = 0.5;

/** CPU times of a batch of 600 windows, in microseconds. */
export interface HandoffCost {
  /** Reading, checking, deduplicating and writing its rows, with no disk behind it: all that a thread could take over. */
  readonly acceptMicros: number;
  /** What giving its body to a worker and getting a buffer back costs the thread that gives it. */
  readonly givingMicros: number;
  /** The same with the worker's own share. */
  readonly bothMicros: number;
}

/** Measures both on this machine. Buffers are transferred, not copied, so that their size hardly matters. */
export async function handoffCost(batches: number): Promise<HandoffCost> {
  const acceptMicros = await acceptCost(batches);
  const worker = new Worker(WORKER);
  try {
    await once(worker, 'online');
    await exchange(worker, batches * WARM_SHARE);
    const before = { thread: process.threadCpuUsage(), process: process.cpuUsage() };
    await exchange(worker, batches);
    const thread = process.threadCpuUsage(before.thread);
    const both = process.cpuUsage(before.process);
    return {
      acceptMicros,
      givingMicros: (thread.user + thread.system) / batches,
      bothMicros: (both.user + both.system) / batches,
    };
  } finally {
    await worker.terminate();
  }
}

async function acceptCost(batches: number): Promise<number> {
  const generator = Generator.ofRequests(fleetSpec({ nowMs: Date.now() }));
  generator.warm();
  const ingest = ingestWithoutDisk();
  const buffer = Buffer.allocUnsafe(BODY_BYTES_MAX);
  const warm = Math.ceil(batches * WARM_SHARE);
  let tookMs = 0;
  for (let number = 0; number < warm + batches; number++) {
    const job = generator.job(number);
    const template = generator.template(job);
    const body = fillRequest(template, buffer, { ...job, job: number });
    const startedMs = performance.now();
    const { windows, rest } = splitBatch(body);
    const batch = { ...fromBinary(SendMetricsBatchRestSchema, rest), metrics: windows };
    const { accepted } = await ingest.accept(batch, SENDER);
    if (number >= warm) tookMs += performance.now() - startedMs;
    if (accepted !== template.windows) throw new Error(`of ${template.windows} windows ${accepted} were accepted`);
  }
  return (tookMs * 1000) / batches;
}

/** As meterd has it by default, with nothing to be told of what was accepted. */
function ingestWithoutDisk(): Ingest {
  return new Ingest({
    clock: systemClock,
    spool: { append: () => Promise.resolve() },
    recent: new RecentWindows(250_000),
    batchWindowsMax: 10_000,
    lateDaysMax: 35,
    rawDays: 400,
    aheadSecondsMax: 300,
    onAccepted: () => undefined,
    onVerdict: () => undefined,
    onBackfilled: () => undefined,
    onRefused: () => undefined,
  });
}

/** Gives buffers to the worker, so many under way at once, until as many came back. */
async function exchange(worker: Worker, batches: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let given = 0;
  let back = 0;
  const give = (body: ArrayBuffer): void => {
    given++;
    worker.postMessage(body, [body]);
  };
  const onBack = (body: ArrayBuffer): void => {
    back++;
    if (given < batches) give(body);
    else if (back >= given) resolve();
  };
  worker.on('message', onBack);
  for (let i = 0; i < IN_FLIGHT; i++) give(new ArrayBuffer(128 * 1024));
  await promise;
  worker.off('message', onBack);
}
