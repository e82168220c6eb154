import { Random } from '../generator/random.ts';
import type { Caller } from './caller.ts';
import type { RunRequest, RunResult } from './messages.ts';
import { paced } from './pacing.ts';
import { percentiles } from './percentiles.ts';
import type { Counted, Sender } from './sender.ts';

const EMPTY_PATH = '/grpc.health.v1.Health/Check';
/** So many of a thousand batches are sent again right after their ack. */
const RESEND_SOON_PERMILLE = 10;
/** And so many are followed by a batch of long ago, which the service may have forgotten. */
const RESEND_LATE_PERMILLE = 2;

/** Sends batches at a pace; with a `sender` of `undefined`, empty calls. @throws Error where a window was not taken */
export async function run(request: RunRequest, sender: Sender | undefined, caller: Caller): Promise<RunResult> {
  const counted: Counted = { accepted: 0, duplicate: 0, refusals: 0 };
  const latenciesMs: number[] = [];
  const random = new Random(request.fleet + 1);
  const acknowledged = new Set<number>();
  let calls = 0;
  let resentCalls = 0;
  let batches = 0;
  const resend = async (from: Sender, job: Awaited<ReturnType<Sender['sendNext']>>): Promise<void> => {
    const isLate = random.chance(RESEND_LATE_PERMILLE);
    if (!isLate && !random.chance(RESEND_SOON_PERMILLE)) return;
    const again = isLate ? from.oldJob(job) : job;
    if (!acknowledged.has(again.number)) return;
    resentCalls++;
    await from.sendAgain(again, counted);
  };
  const cpuBefore = process.cpuUsage();
  const startedMs = performance.now();
  await paced(request.pace, request.forMs, async (intendedMs) => {
    if (sender !== undefined && batches >= request.batchesMax) return false;
    batches++;
    const job = sender === undefined ? await callEmpty(caller) : await sender.sendNext(counted);
    latenciesMs.push(performance.now() - intendedMs);
    calls++;
    if (sender === undefined || job === undefined || !request.resends) return true;
    acknowledged.add(job.number);
    await resend(sender, job);
    return true;
  });
  const elapsedMs = performance.now() - startedMs;
  const { user, system } = process.cpuUsage(cpuBefore);
  return {
    elapsedMs,
    calls,
    windows: calls * (sender?.windowsPerBatch ?? 0),
    resentCalls,
    ...counted,
    ...percentiles(latenciesMs),
    cpuSeconds: (user + system) / 1_000_000,
  };
}

async function callEmpty(caller: Caller): Promise<undefined> {
  const { status } = await caller.call(EMPTY_PATH, Buffer.alloc(0));
  if (status !== 200) throw new Error(`an empty call was answered ${status}`);
}
