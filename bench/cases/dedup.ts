/**
 * What does the first depth of deduplication cost: how many windows a second does one core look up, and how much memory
 * does a key take?
 *
 * Measured on the module alone, with the rows of a whole fleet: a first pass in which every window is new, and a second
 * in which every window is a duplicate.
 *
 * Not measured: evictions, and the other two depths, which are ClickHouse's.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { RecentWindows } from '../../src/ingest/dedup.ts';
import { RowScan } from '../../src/ingest/row-scan.ts';
import type { Bench, CaseResult } from '../case.ts';
import { fleetSpec, Generator } from '../generator/generator.ts';
import { readRequest } from '../generator/read-request.ts';
import { fillRequest } from '../generator/request-template.ts';

const WINDOWS = 10_000_000;
const WINDOWS_BRIEF = 2_000_000;
const RESIDENT_BYTES_MAX = 1_000_000_000;
const BLOCK_BYTES_MAX = 1024 * 1024;

export async function dedup(bench: Bench): Promise<CaseResult> {
  const windows = bench.options.windows ?? (bench.options.isBrief ? WINDOWS_BRIEF : WINDOWS);
  const generator = Generator.ofRequests(fleetSpec({ nowMs: Date.now(), hosts: 1024 }));
  generator.warm();
  const batches = Math.ceil(windows / generator.windowsPerBatch);
  const keys = batches * generator.windowsPerBatch;
  const recent = new RecentWindows(keys * 2);
  const before = usedBytes();
  bench.note(`dedup: ${keys.toLocaleString('en')} keys …`);
  const fresh = pass(recent, generator, batches);
  const bytesPerKey = (usedBytes() - before) / keys;
  const again = pass(recent, generator, batches);
  const wrong = [
    ...(fresh.fresh === keys ? [] : [`of ${keys} new windows ${fresh.fresh} were taken as new`]),
    ...(again.duplicate === keys ? [] : [`of ${keys} resent windows ${again.duplicate} were taken as duplicates`]),
  ];
  return {
    figures: [
      { what: 'new windows', value: fresh.perSecond, unit: 'windows/s' },
      { what: 'duplicates', value: again.perSecond, unit: 'windows/s' },
      {
        what: 'memory a key',
        value: bytesPerKey,
        unit: 'bytes',
        // Ten million keys have to fit into the bound of the whole process.
        target: { atMost: RESIDENT_BYTES_MAX / 10_000_000 },
      },
    ],
    json: {
      keys,
      newPerSecond: fresh.perSecond,
      duplicatesPerSecond: again.perSecond,
      bytesPerKey,
      exact: wrong.length === 0,
    },
    wrong,
  };
}

interface Pass {
  readonly perSecond: number;
  readonly fresh: number;
  readonly duplicate: number;
}

/** Looks every window of the batches up. Making the rows is not counted. */
function pass(recent: RecentWindows, generator: ReturnType<typeof Generator.ofRequests>, batches: number): Pass {
  const buffer = Buffer.allocUnsafe(BLOCK_BYTES_MAX);
  const count = { new: 0, duplicate: 0, conflict: 0 };
  let tookMs = 0;
  for (let number = 0; number < batches; number++) {
    const job = generator.job(number);
    const windows = readRequest(fillRequest(generator.template(job), buffer, { ...job, job: job.number }));
    const startedMs = performance.now();
    const batch = recent.begin({ done: undefined });
    const row = new RowScan(windows.block());
    while (row.next()) count[recent.take(row, batch)]++;
    recent.end(batch);
    tookMs += performance.now() - startedMs;
    windows.release();
  }
  return {
    perSecond: ((count.new + count.duplicate + count.conflict) * 1000) / tookMs,
    fresh: count.new,
    duplicate: count.duplicate,
  };
}

/** Memory in use, with garbage collected first. */
function usedBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect === 'function') collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
