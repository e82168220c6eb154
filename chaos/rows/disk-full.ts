import { execFile } from 'node:child_process';
import { rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { NotNow } from '../../src/lib/failure.ts';
import { retry } from '../../src/lib/retry.ts';
import { Spool } from '../../src/ingest/spool/spool.ts';
import { drainIds, idOf, recordOf } from '../../test/ingest/spool/records.ts';
import { mountMemory } from '../mounts.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';
import { tool } from '../tools.ts';
import { Totals } from '../totals.ts';
import { Traffic } from '../traffic.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
/** A spool alone, with small segments, on a disk of this size meets the end of the disk in the middle of a write. */
const SPOOL_DISK_MIB = 64;
/** meterd keeps 256 MiB of its disk free, and needs two segments of 64 MiB. */
const METERD_DISK_MIB = 512;
const CLICKHOUSE_DISK_MIB = 1024;
/**
 * So much is left of ClickHouse's disk when it is filled, less than it keeps free: a file that takes the very last bytes
 * under a running merge spoils what that merges, which is told in docs/reliability.md.
 */
const CLICKHOUSE_LEFT_MIB = 64;
const WINDOWS_PER_BATCH = 20;
const CALLS_PER_SECOND = 100;
const LANES = 4;
const RECOVERY_MS_MAX = 5_000;
/** What has not gone on by then never will. */
const GIVE_UP_MS = 20_000;
const FULL_MS = 1_500;

interface Counts {
  fills: number;
  otherRefusals: number;
  recoveryMsMax: number;
  spoolLost: number;
  refused: number;
}

export const diskFull: Row = {
  name: 'disk-full',
  promise:
    'The disk of the spool full, and the one of ClickHouse: nothing lost, always RESOURCE_EXHAUSTED, on again within 5 s of room.',
  trials: { full: 50, quick: 3 },
  tools: ['mount', 'umount', 'fallocate'],
  async run(context: Context): Promise<Finding> {
    const { trials } = context;
    const counts: Counts = { fills: 0, otherRefusals: 0, recoveryMsMax: 0, spoolLost: 0, refused: 0 };
    await fillSpools(context, counts);
    const totals = await fillUnderMeterd(context, counts);
    const limits = {
      fills: { atLeast: 3 * trials },
      refused: { atLeast: trials },
      otherRefusals: NONE,
      spoolLost: NONE,
      recoveryMsMax: { atMost: RECOVERY_MS_MAX },
    };
    return totals.finding({ ...counts }, limits);
  },
};

/** A spool that nobody drains, appended to until the disk is full; then room is made and it is opened anew. */
async function fillSpools({ folder, trials, random, onClose }: Context, counts: Counts): Promise<void> {
  const disk = join(folder, 'spool-disk');
  onClose(await mountMemory(disk, SPOOL_DISK_MIB));
  for (let trial = 0; trial < trials; trial++, counts.fills++) {
    const options = {
      folder: join(disk, 'spool'),
      quotaBytes: 1024 * MIB,
      segmentBytes: MIB,
      groupBytesMax: 256 * 1024,
    };
    await fill(disk, random.between(8, 48) * MIB);
    const spool = await Spool.open(options);
    const acknowledged: number[] = [];
    for (let id = 1, refusals = 0; refusals < 20; id++) {
      try {
        await spool.append(recordOf(id, random.between(4, 60_000)));
        acknowledged.push(id);
      } catch (reason) {
        refusals++;
        counts.refused++;
        if (!(reason instanceof NotNow && reason.kind === 'resource_exhausted')) counts.otherRefusals++;
      }
    }
    await empty(disk);
    const startedMs = performance.now();
    // Room cures it without a start.
    let isOn = false;
    while (!isOn && performance.now() - startedMs < GIVE_UP_MS) {
      await wait(20);
      isOn = await isTaken(spool, 1_000_000);
    }
    counts.recoveryMsMax = Math.max(counts.recoveryMsMax, Math.round(performance.now() - startedMs));
    if (!isOn) return;
    await spool.close();
    const told: number[] = [];
    const again = await Spool.open({ ...options, onRecord: (payload) => told.push(idOf(payload)) });
    const there = new Set(await drainIds(again, MIB));
    await again.close();
    counts.spoolLost += acknowledged.filter((id) => !there.has(id)).length;
    await rm(options.folder, { recursive: true });
  }
}

async function isTaken(spool: Spool, id: number): Promise<boolean> {
  return spool.append(recordOf(id, 100)).then(
    () => true,
    () => false,
  );
}

/** meterd with its data folder, and ClickHouse with its own, on disks that are filled under load. */
async function fillUnderMeterd(context: Context, counts: Counts): Promise<Totals> {
  const { seed, trials, onClose } = context;
  const site = await context.ownSite((folder) => mountMemory(join(folder, 'clickhouse'), CLICKHOUSE_DISK_MIB));
  onClose(await mountMemory(site.dataDir, METERD_DISK_MIB));
  const meterd = await site.start();
  const totals = new Totals();
  const traffic = await Traffic.begin(site, meterd, {
    name: 'full',
    seed,
    windowsPerBatch: WINDOWS_PER_BATCH,
    callsPerSecond: CALLS_PER_SECOND,
    lanes: LANES,
    resendPermille: 300,
    onAnswer: (answer) => {
      if (answer.kind === 'acknowledged') return;
      counts.refused++;
      if (!(answer.kind === 'refused' && answer.code === 'resource_exhausted')) counts.otherRefusals++;
    },
  });
  for (let trial = 0; trial < trials; trial++) {
    const disks = [
      { disk: site.dataDir, leftMib: 0 },
      { disk: join(site.engines.folder, 'clickhouse'), leftMib: CLICKHOUSE_LEFT_MIB },
    ];
    for (const { disk, leftMib } of disks) {
      await traffic.acknowledgedMore(1);
      await fill(disk, Number.MAX_SAFE_INTEGER, leftMib * MIB);
      await wait(FULL_MS);
      await empty(disk);
      const startedMs = performance.now();
      const isOn = await traffic.acknowledgesMore(1, GIVE_UP_MS);
      counts.recoveryMsMax = Math.max(counts.recoveryMsMax, Math.round(performance.now() - startedMs));
      if (!isOn) return totals;
      counts.fills++;
    }
  }
  await traffic.end();
  await traffic.check(site, meterd, totals);
  return totals;
}

/** Takes up so many bytes of a disk, or all that is free where that is less. Others write to it meanwhile. */
async function fill(disk: string, bytesMax: number, leftBytes = 0): Promise<void> {
  const take = async (): Promise<void> => {
    const { bavail, bsize } = await statfs(disk);
    const bytes = Math.min(bytesMax, bavail * bsize - leftBytes);
    if (bytes > 0) await run(tool('fallocate'), ['-l', String(bytes), join(disk, 'filler')]);
  };
  await retry(take, { attemptsMax: 100, delayMs: 1, delayMsMax: 5 });
}

async function empty(disk: string): Promise<void> {
  await rm(join(disk, 'filler'), { force: true });
}
