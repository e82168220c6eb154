import { join } from 'node:path';
import type { ClickHouseClient } from '@clickhouse/client';
import { messageOf } from '../lib/failure.ts';
import { Ingest, type IngestOptions } from './accept-batch.ts';
import { ClickHouseWriter } from './clickhouse-writer.ts';
import { RecentWindows } from './dedup.ts';
import { decodeRecord } from './record.ts';
import type { SpoolEvent } from './spool/events.ts';
import { Spool, type SpoolStats } from './spool/spool.ts';

export interface CollectorOptions extends Pick<IngestOptions, 'clock' | 'onAccepted' | 'onBackfilled' | 'onVerdict'> {
  readonly dataDir: string;
  readonly clickhouse: ClickHouseClient;
  readonly limits: Pick<IngestOptions, 'batchWindowsMax' | 'lateDaysMax' | 'aheadSecondsMax'> & {
    readonly dedupKeysMax: number;
    readonly spoolQuotaBytes: number;
  };
  readonly onSpoolEvent: (event: SpoolEvent) => void;
  readonly onStored: (rows: number, bytes: number, durationMs: number) => void;
  readonly onStoreFailed: (reason: unknown, attempt: number) => void;
}

/** What a process of the role collector runs: the spool, the way into it, the way out of it. */
export interface Collector {
  readonly ingest: Ingest;
  stats(): SpoolStats;
  /** Resolves when what is acknowledged now is stored. */
  settle(signal: AbortSignal): Promise<void>;
  /** Resolves with the reason when taking or storing windows cannot go on: a defect of ours or of the spool's disk. */
  readonly failed: Promise<string>;
  /** Stores no more than the block under way; the rest stays in the spool. */
  stop(): Promise<void>;
}

/** Less than this free on the disk, and no more windows are taken: the engines need room too. */
const FREE_DISK_BYTES_MIN = 256 * 1024 * 1024;

/** Opens the spool, learns from it which windows were taken of late, and starts storing. */
export async function startCollector(options: CollectorOptions): Promise<Collector> {
  const { clock, limits } = options;
  const recent = new RecentWindows(limits.dedupKeysMax);
  const broken = Promise.withResolvers<string>();
  const spool = await Spool.open({
    folder: join(options.dataDir, 'spool'),
    quotaBytes: limits.spoolQuotaBytes,
    freeDiskBytesMin: FREE_DISK_BYTES_MIN,
    clock,
    onRecord: (payload) => recent.warm(decodeRecord(payload).rows),
    onEvent: (event) => {
      if (event.type === 'failed') broken.resolve(`the spool can no longer be written: ${messageOf(event.error)}`);
      options.onSpoolEvent(event);
    },
  });
  const writer = new ClickHouseWriter({
    spool,
    clickhouse: options.clickhouse,
    onStored: options.onStored,
    onFailed: options.onStoreFailed,
  });
  const draining = writer.run();
  return {
    ingest: new Ingest({ ...options, ...limits, spool, recent }),
    stats: () => spool.stats(),
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
