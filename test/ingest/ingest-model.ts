import { deepEqual } from 'node:assert/strict';
import { create, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import * as fc from 'fast-check';
import { SendMetricsBatchRequestSchema } from '../../gen/billing/v1/collector_pb.ts';
import { CounterTemporality } from '../../gen/billing/v1/metrics_pb.ts';
import { type Batch, Ingest } from '../../src/ingest/accept-batch.ts';
import { RecentWindows } from '../../src/ingest/dedup.ts';
import type { Verdict } from '../../src/ingest/intake.ts';
import { decodeRecord, windowsOf } from '../../src/ingest/record.ts';
import { readRows, RowScan } from '../../src/ingest/row-scan.ts';
import { Spool } from '../../src/ingest/spool/spool.ts';
import { splitBatch } from '../../src/ingest/wire-batch.ts';
import { diskError, FOLDER, randomFrom, SimulatedDisk } from './spool/simulated-disk.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';

/** A report of a window: few keys and few values, so that most are known already or contradict what is known. */
interface Report {
  readonly vm: number;
  readonly minute: number;
  readonly value: number;
}

type Step =
  /** Batches sent at once. */
  | { readonly do: 'send'; readonly batches: readonly (readonly Report[])[]; readonly asJson: boolean }
  | { readonly do: 'drain'; readonly bytesMax: number }
  /** From so many operations on, the next so many writes or syncs of segments fail. */
  | { readonly do: 'fail'; readonly kind: 'write' | 'sync'; readonly after: number; readonly times: number }
  /** The process ends after so many more operations, whatever it is doing then. */
  | { readonly do: 'end'; readonly how: 'kill' | 'power'; readonly after: number };

const report: fc.Arbitrary<Report> = fc.record({ vm: fc.nat(1), minute: fc.nat(2), value: fc.nat(2) });
const batches = fc.array(fc.array(report, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 4 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('send' as const), batches, asJson: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('drain' as const), bytesMax: fc.integer({ min: 1, max: 4000 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('fail' as const),
      kind: fc.constantFrom('write' as const, 'sync' as const),
      after: fc.integer({ min: 0, max: 3 }),
      times: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('end' as const),
      how: fc.constantFrom('kill' as const, 'power' as const),
      after: fc.integer({ min: 0, max: 20 }),
    }),
  },
);

/** The model: which reports were sent, and what the answers promise of them. */
class Run {
  disk: SimulatedDisk;
  #spool: Spool | undefined;
  #ingest: Ingest | undefined;
  readonly #sent = new Set<string>();
  /** Reports that an answer said are kept: as accepted, as a duplicate, or beside another one. */
  readonly #promised = new Set<string>();
  readonly #delivered = new Set<string>();
  /** The value that counts of each key, as this process has answered. */
  #known = new Map<string, number>();

  constructor(seed: number) {
    this.disk = new SimulatedDisk(randomFrom(seed));
  }

  async open(): Promise<void> {
    const recent = new RecentWindows(10_000);
    this.#spool = await Spool.open({
      folder: FOLDER,
      disk: this.disk,
      quotaBytes: 1 << 24,
      segmentBytes: 8192 + 8192,
      groupBytesMax: 4096,
      keepAppliedSegments: 1,
      onRecord: (payload) => recent.warm(new RowScan(windowsOf(decodeRecord(payload)))),
    });
    const nothing = (): void => undefined;
    this.#ingest = new Ingest({
      clock: { nowMs: () => NOW_MS, nowNanos: () => BigInt(NOW_MS) * 1_000_000n },
      spool: this.#spool,
      recent,
      batchWindowsMax: 10,
      lateDaysMax: 35,
      rawDays: 400,
      aheadSecondsMax: 300,
      onAccepted: nothing,
      onVerdict: nothing,
      onRefused: nothing,
      onBackfilled: nothing,
    });
    this.#known = new Map();
  }

  async send(reports: readonly Report[], asJson: boolean): Promise<void> {
    for (const each of reports) this.#sent.add(nameOf(each));
    const knownBefore = new Map(this.#known);
    const verdict = await this.#ingest?.accept(batchOf(reports, asJson), anySender);
    if (verdict !== undefined) this.#compare(reports, verdict, knownBefore);
  }

  /** @returns false where there was nothing to drain */
  async drain(bytesMax: number): Promise<boolean> {
    const batch = await this.#spool?.read(bytesMax);
    if (batch === undefined) return false;
    for (const payload of batch.payloads) {
      for (const row of readRows(windowsOf(decodeRecord(payload)))) {
        const minute = Number((BigInt(NOW_MS) * 1_000_000n - row.startNanos) / 60_000_000_000n);
        this.#delivered.add(nameOf({ vm: Number(row.vmId.slice(3)), minute, value: Number(row.cpuTimeNanos) }));
      }
    }
    await this.#spool?.markApplied(batch.end);
    return true;
  }

  async restart(how: 'kill' | 'power'): Promise<void> {
    this.disk.onOperation = () => diskError('EDEAD');
    await this.#spool?.close().catch(() => undefined);
    this.disk = how === 'kill' ? this.disk.afterKill() : this.disk.afterPowerCut();
    await this.open();
  }

  /** After everything was drained. */
  conclude(): void {
    const lost = [...this.#promised].filter((name) => !this.#delivered.has(name));
    const invented = [...this.#delivered].filter((name) => !this.#sent.has(name));
    deepEqual({ lost, invented }, { lost: [], invented: [] });
  }

  #compare(reports: readonly Report[], verdict: Verdict, knownBefore: ReadonlyMap<string, number>): void {
    const { accepted, duplicate, conflicting, refused, faults } = verdict;
    deepEqual({ refused, sum: accepted + duplicate + conflicting }, { refused: 0, sum: reports.length });
    const inConflict = new Set(faults.map((fault) => fault.index));
    deepEqual(inConflict.size, conflicting);
    reports.forEach((each, index) => {
      const known = knownBefore.get(keyOf(each));
      // What was answered before decides; of reports under way at once any may be the first.
      if (known !== undefined)
        deepEqual({ ...each, conflict: inConflict.has(index) }, { ...each, conflict: known !== each.value });
      if (!inConflict.has(index)) this.#known.set(keyOf(each), each.value);
      this.#promised.add(nameOf(each));
    });
  }
}

function keyOf({ vm, minute }: Report): string {
  return `${vm}/${minute}`;
}

function nameOf({ vm, minute, value }: Report): string {
  return `${vm}/${minute}=${value}`;
}

function batchOf(reports: readonly Report[], asJson: boolean): Batch {
  const metrics = reports.map(({ vm, minute, value }) => {
    const windowStart = timestampFromMs(NOW_MS - minute * 60_000);
    const windowEnd = timestampFromMs(NOW_MS - minute * 60_000 + 60_000);
    return aWindow({ vmId: `vm-${vm}`, windowStart, windowEnd, cpuTimeNanos: BigInt(value) });
  });
  const head = { instanceId: 'metald-1', sequence: 1n, counterTemporality: CounterTemporality.UNSPECIFIED };
  if (asJson) return { metrics, ...head };
  const bytes = toBinary(SendMetricsBatchRequestSchema, create(SendMetricsBatchRequestSchema, { metrics }));
  return { metrics: splitBatch(bytes).windows, ...head };
}

async function play(seed: number, steps: readonly Step[]): Promise<void> {
  const run = new Run(seed);
  await run.open();
  let ending: 'kill' | 'power' | undefined;
  for (const each of steps) {
    switch (each.do) {
      case 'send': {
        const sent = await Promise.allSettled(each.batches.map((reports) => run.send(reports, each.asJson)));
        for (const one of sent) if (one.status === 'rejected') onlyDiskErrors(one.reason);
        break;
      }
      case 'drain':
        await run.drain(each.bytesMax).catch(onlyDiskErrors);
        break;
      case 'fail':
        if (ending === undefined) failSegments(run, each);
        break;
      case 'end':
        if (ending !== undefined) await run.restart(ending);
        ending = each.how;
        dieAfter(run, each.after);
    }
  }
  await run.restart(ending ?? 'power');
  while (await run.drain(3000));
  run.conclude();
}

function failSegments(run: Run, { kind, after, times }: Extract<Step, { do: 'fail' }>): void {
  let seen = 0;
  run.disk.onOperation = (operation) => {
    if (operation.kind !== kind || !operation.name.startsWith('s')) return undefined;
    seen++;
    return seen > after && seen <= after + times ? diskError('EIO') : undefined;
  };
}

function dieAfter(run: Run, after: number): void {
  let left = after;
  run.disk.onOperation = () => (left-- > 0 ? undefined : diskError('EDEAD'));
}

/** Only what the disk was told to do may go wrong. */
function onlyDiskErrors(reason: unknown): void {
  const isOfDisk = (error: unknown): boolean =>
    error instanceof Error && 'code' in error && error.code !== 'ERR_ASSERTION';
  if (!isOfDisk(reason) && !(reason instanceof Error && isOfDisk(reason.cause))) throw reason;
}

/**
 * Validation, deduplication and spool together keep what their answers promise: every report that was answered for is
 * kept, none is made up, and one that contradicts what was answered before is called a conflict.
 * @param seed another one tries other sequences; chosen anew where left out
 * @throws Error with the shortest sequence of steps that breaks a promise, and the seed and path that replay it
 */
export async function checkIngestModel(runs: number, seed?: number): Promise<void> {
  const sequences = fc.array(step, { maxLength: 20 });
  const parameters = { numRuns: runs, ...(seed === undefined ? {} : { seed: seed | 0 }) };
  await fc.assert(fc.asyncProperty(fc.integer(), sequences, play), parameters);
}
