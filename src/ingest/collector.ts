import { join } from 'node:path';
import type { ClickHouseClient } from '@clickhouse/client';
import { messageOf } from '../lib/failure.ts';
import { Ingest, type IngestOptions } from './accept-batch.ts';
import { Lifecycle } from './accept-lifecycle.ts';
import { BrokenRecords, isBroken } from './broken-records.ts';
import { ClickHouseWriter, type WriterListener } from './clickhouse-writer.ts';
import { RecentWindows } from './dedup.ts';
import { readEvidence } from './evidence-rows.ts';
import { ReadingWalk } from './reading-walk.ts';
import { decodeRecord, type SpoolRecord, windowsOf } from './record.ts';
import { RowScan } from './row-scan.ts';
import type { SpoolEvent } from './spool/events.ts';
import { Spool, type SpoolStats } from './spool/spool.ts';

export interface CollectorOptions
  extends Pick<IngestOptions, 'clock' | 'onAccepted' | 'onBackfilled' | 'onRefused' | 'onVerdict'>, WriterListener {
  readonly dataDir: string;
  readonly clickhouse: ClickHouseClient;
  readonly limits: Pick<IngestOptions, 'batchWindowsMax' | 'lateDaysMax' | 'rawDays' | 'aheadSecondsMax'> & {
    readonly dedupKeysMax: number;
    readonly spoolQuotaBytes: number;
  };
  readonly onSpoolEvent: (event: SpoolEvent) => void;
  /** As the writer's; what the writer has where left out. */
  readonly storeTimeoutMs?: number;
}

/** What a process of the role collector runs: the spool, the way into it, the way out of it. */
export interface Collector {
  readonly ingest: Ingest;
  readonly lifecycle: Lifecycle;
  stats(): SpoolStats;
  /** Whether ClickHouse is there to store into. Windows are taken all the same. */
  clickHouse(): ClickHouseWriter<unknown>['clickHouse'];
  /** Resolves when what is acknowledged now is stored. */
  settle(signal: AbortSignal): Promise<void>;
  /** Resolves with the reason when taking or storing windows cannot go on: a defect of ours or of the spool's disk. */
  readonly failed: Promise<string>;
  /** Stores no more than the block under way; the rest stays in the spool. */
  stop(): Promise<void>;
}

/** Less than this free on the disk, and no more windows are taken: the engines need room too. */
const FREE_DISK_BYTES_MIN = 256 * 1024 * 1024;

/** Below the data folder: windows that were acknowledged and could not be stored. */
const QUARANTINE_FOLDER = 'quarantine';

/** Opens the spool, learns from it which windows were taken of late, and starts storing. */
export async function startCollector(options: CollectorOptions): Promise<Collector> {
  const { limits } = options;
  const recent = new RecentWindows(limits.dedupKeysMax);
  const broken = Promise.withResolvers<string>();
  const spool = await openSpool(options, {
    recent,
    retryAfterMs: (bytes) => writer.retryAfterMs(bytes),
    onFailed: broken.resolve,
  });
  const brokenRecords = new BrokenRecords(join(options.dataDir, QUARANTINE_FOLDER));
  const setAside = (record: SpoolRecord, reason: unknown): Promise<string> => brokenRecords.keep(record, reason);
  const writer = new ClickHouseWriter({ ...options, spool, setAside });
  const draining = writer.run();
  return {
    ingest: new Ingest({ ...options, ...limits, spool, recent }),
    lifecycle: new Lifecycle({ ...options, ...limits, spool }),
    stats: () => spool.stats(),
    clickHouse: () => writer.clickHouse,
    settle: (signal) => writer.settle(signal),
    failed: Promise.race([
      broken.promise,
      draining.then(
        () => new Promise<never>(() => undefined),
        (reason: unknown) => `the spool can no longer be stored: ${messageOf(reason)}`,
      ),
    ]),
    async stop() {
      // Why draining ended before it was asked to was told by `failed`.
      await Promise.allSettled([writer.stop()]);
      await spool.close();
    },
  };
}

interface SpoolWiring {
  readonly recent: RecentWindows;
  /** When it is worth trying again, once so many bytes have been stored. */
  readonly retryAfterMs: (bytes: number) => number;
  readonly onFailed: (reason: string) => void;
}

function openSpool(options: CollectorOptions, { recent, retryAfterMs, onFailed }: SpoolWiring): Promise<Spool> {
  const spoolOptions = {
    folder: join(options.dataDir, 'spool'),
    quotaBytes: options.limits.spoolQuotaBytes,
    freeDiskBytesMin: FREE_DISK_BYTES_MIN,
    clock: options.clock,
    retryAfterMs,
    onRecord: (payload: Uint8Array) => warm(recent, decodeRecord(payload)),
    onEvent: (event: SpoolEvent) => {
      if (event.type === 'failed') onFailed(`the spool can no longer be written: ${messageOf(event.error)}`);
      options.onSpoolEvent(event);
    },
  };
  return Spool.open(spoolOptions);
}

function warm(recent: RecentWindows, record: SpoolRecord): void {
  try {
    recent.warm(new RowScan(windowsOf(record)));
    for (const { table, rows } of record.evidence) {
      if (table === 'counter_samples') recent.warm(new ReadingWalk(readEvidence(table, rows)));
    }
  } catch (reason) {
    // One that cannot be read must not keep meterd from starting: the writer sets it aside.
    if (!isBroken(record)) throw reason;
  }
}
