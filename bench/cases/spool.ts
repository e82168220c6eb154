/**
 * How fast does the spool alone make records durable, and how long does it take to open it again?
 *
 * Records of a batch's size are appended and synced as meterd does, by many callers at once, while a reader marks what
 * it read as applied. Then a gigabyte that nobody applied is read back as after a crash.
 *
 * Not measured: what meterd does with the records at its start, which comes on top.
 */
import { randomFillSync } from 'node:crypto';
import { join } from 'node:path';
import { Spool } from '../../src/ingest/spool/spool.ts';
import type { Bench, CaseResult } from '../case.ts';
import { paced } from '../load/pacing.ts';
import { percentiles } from '../load/percentiles.ts';

const RECORD_BYTES = 120_000;
const QUOTA_BYTES = 8 * 1024 ** 3;
const CALLERS = 32;
const FOR_MS = 8_000;
const READ_BYTES_MAX = 16 * 1024 * 1024;
/** As many batches of 600 as 50,000 windows a second make. */
const OFFERED_PER_SECOND = 83;
const RECOVERED_BYTES = 1_000_000_000;
const BYTES_PER_WINDOW = 200;
const MB = 1_000_000;

export async function spool(bench: Bench): Promise<CaseResult> {
  const { seconds, windows } = bench.options;
  const forMs = Math.min(FOR_MS, seconds * 1000);
  const world = await bench.world();
  const record = randomFillSync(Buffer.allocUnsafe(RECORD_BYTES));
  bench.note('spool: appends …');
  const fastest = await appendRate(join(world.folder, 'appends'), record, forMs);
  bench.note('spool: appends at a steady rate …');
  const steady = await appendLatency(join(world.folder, 'steady'), record, forMs);
  bench.note('spool: recovery …');
  const bytes = windows === undefined ? RECOVERED_BYTES : windows * BYTES_PER_WINDOW;
  const recovery = await recoverySeconds(join(world.folder, 'recovery'), record, bytes);
  return {
    figures: [
      { what: 'appended and synced', value: fastest / MB, unit: 'MB/s' },
      { what: `append p50 at ${OFFERED_PER_SECOND}/s`, value: steady.p50Ms, unit: 'ms' },
      { what: `append p99 at ${OFFERED_PER_SECOND}/s`, value: steady.p99Ms, unit: 'ms' },
      {
        what: `recovery of ${bytes / MB} MB`,
        value: recovery.seconds,
        unit: 's',
        ...(bytes === RECOVERED_BYTES ? { target: { atMost: 3 } } : {}),
      },
    ],
    json: {
      appendedBytesPerSecond: fastest,
      appendP50Ms: steady.p50Ms,
      appendP99Ms: steady.p99Ms,
      recoveredBytes: bytes,
      recoverySeconds: recovery.seconds,
    },
    wrong: recovery.missing === 0 ? [] : [`${recovery.missing} records that were synced did not come back`],
  };
}

/** Bytes a second that were appended and synced, with a reader beside it. */
async function appendRate(folder: string, record: Buffer, forMs: number): Promise<number> {
  const opened = await Spool.open({ folder, quotaBytes: QUOTA_BYTES });
  const stop = new AbortController();
  const draining = drain(opened, stop.signal);
  let records = 0;
  const startedMs = performance.now();
  await paced({ kind: 'closed', inFlight: CALLERS }, forMs, async () => {
    await opened.append(record);
    records++;
    return true;
  });
  const seconds = (performance.now() - startedMs) / 1000;
  stop.abort();
  await draining;
  await opened.close();
  return (records * record.length) / seconds;
}

async function appendLatency(folder: string, record: Buffer, forMs: number): Promise<{ p50Ms: number; p99Ms: number }> {
  const opened = await Spool.open({ folder, quotaBytes: QUOTA_BYTES });
  const latenciesMs: number[] = [];
  const pace = { kind: 'open', callsPerSecond: OFFERED_PER_SECOND, inFlightMax: CALLERS } as const;
  await paced(pace, forMs, async (intendedMs) => {
    await opened.append(record);
    latenciesMs.push(performance.now() - intendedMs);
    return true;
  });
  await opened.close();
  return percentiles(latenciesMs);
}

async function recoverySeconds(
  folder: string,
  record: Buffer,
  bytes: number,
): Promise<{ seconds: number; missing: number }> {
  const records = Math.ceil(bytes / record.length);
  const filled = await Spool.open({ folder, quotaBytes: QUOTA_BYTES });
  let appended = 0;
  await paced({ kind: 'closed', inFlight: CALLERS }, Number.POSITIVE_INFINITY, async () => {
    if (appended >= records) return false;
    appended++;
    await filled.append(record);
    return true;
  });
  await filled.close();
  let seen = 0;
  const startedMs = performance.now();
  const recovered = await Spool.open({ folder, quotaBytes: QUOTA_BYTES, onRecord: () => seen++ });
  const seconds = (performance.now() - startedMs) / 1000;
  await recovered.close();
  return { seconds, missing: records - seen };
}

async function drain(opened: Spool, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const batch = await opened.read(READ_BYTES_MAX);
    if (batch === undefined) await opened.waitForRecords(signal);
    else await opened.markApplied(batch.end);
  }
}
