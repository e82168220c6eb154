import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Random } from '../../bench/generator/random.ts';
import { Spool } from '../../src/ingest/spool/spool.ts';
import { drainIds, idOf } from '../../test/ingest/spool/records.ts';
import { CuttableDisk } from '../mounts.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';

const APPENDER = fileURLToPath(new URL('../../test/ingest/spool/append-until-killed.ts', import.meta.url));
const DISK_MIB = 96;
const MIB = 1024 * 1024;
const IDS_PER_TRIAL = 100_000;
const CUTS_PER_NOTE = 50;
const CONTROLS = { full: 20, quick: 2 };

/** What the records of one trial came to. */
interface Trial {
  readonly acknowledged: number;
  readonly lost: number;
  readonly invented: number;
}
export const power: Row = {
  name: 'power',
  promise:
    'Power cut of the disk under the spool: nothing acknowledged is lost; where nothing is synced, it must be, or the cut is none.',
  trials: { full: 500, quick: 5 },
  tools: ['nbdkit', 'nbdfuse', 'fusermount3', 'losetup', 'mkfs.ext4', 'mount', 'umount'],
  async run(context: Context): Promise<Finding> {
    const { trials, isFull, random } = context;
    const disk = await CuttableDisk.make(context.folder, DISK_MIB);
    context.onClose(async () => {
      await disk.cutPower();
      await disk.takeDown();
    });
    const counts = { cuts: 0, acknowledged: 0, lost: 0, invented: 0, controls: 0, controlsThatLost: 0 };
    const controls = isFull ? CONTROLS.full : CONTROLS.quick;
    for (; counts.cuts < trials; counts.cuts++) {
      const trial = await tryCut(disk, random, `cut-${counts.cuts}`, 'synced');
      counts.acknowledged += trial.acknowledged;
      counts.lost += trial.lost;
      counts.invented += trial.invented;
      if ((counts.cuts + 1) % CUTS_PER_NOTE === 0) context.note(`${counts.cuts + 1} cuts`);
    }
    for (; counts.controls < controls; counts.controls++) {
      const trial = await tryCut(disk, random, `control-${counts.controls}`, 'unsynced');
      if (trial.lost > 0) counts.controlsThatLost++;
    }
    return {
      observed: counts,
      limit: {
        cuts: { atLeast: trials },
        acknowledged: { atLeast: trials },
        lost: NONE,
        invented: NONE,
        controlsThatLost: { atLeast: controls },
      },
      wrong: [],
    };
  },
};

/** Appends on the disk until its power is cut, and compares what is there with power on again with what was said. */
async function tryCut(disk: CuttableDisk, random: Random, name: string, syncs: 'synced' | 'unsynced'): Promise<Trial> {
  const folder = join(disk.mountPoint, name);
  await disk.powerOn();
  // Half of them undrained: what was drained before the cut need not be there after it.
  const drains = syncs === 'synced' && random.chance(500) ? 'drained' : 'undrained';
  const said = await appendUntilCut(disk, [folder, '1', syncs, drains], random.between(30, 400));
  await disk.takeDown();
  await disk.powerOn();
  const delivered = await deliveredFrom(folder).catch((reason: unknown) => {
    // Without syncs even the folder of the spool may be gone or garbled.
    if (syncs === 'unsynced') return [];
    throw reason;
  });
  // The disk has room for a few hundred of them, not for all.
  await rm(folder, { recursive: true, force: true });
  await disk.takeDown();
  const there = new Set(delivered);
  const lost = said.acknowledged.filter((id) => !there.has(id) && !said.applying.has(id));
  const invented = delivered.filter((id) => id < 1 || id > IDS_PER_TRIAL);
  return { acknowledged: said.acknowledged.length, lost: lost.length, invented: invented.length };
}

async function appendUntilCut(disk: CuttableDisk, args: readonly string[], forMs: number) {
  const child = spawn(process.execPath, [APPENDER, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  const exited = once(child, 'exit');
  const acknowledged: number[] = [];
  const applying = new Set<number>();
  const lines = createInterface({ input: child.stdout });
  const ended = once(lines, 'close');
  const open = once(lines, 'line');
  lines.on('line', (line) => {
    const [what, id] = line.split(' ');
    if (what === 'acknowledged') acknowledged.push(Number(id));
    if (what === 'applying') applying.add(Number(id));
  });
  await open;
  await wait(forMs);
  await disk.cutPower();
  child.kill('SIGKILL');
  await Promise.all([exited, ended]);
  return { acknowledged, applying };
}

/** Everything that the spool has after a start. Opening it fails where a record is wrong. */
async function deliveredFrom(folder: string): Promise<number[]> {
  const told: number[] = [];
  const spool = await Spool.open({
    folder,
    quotaBytes: 64 * MIB,
    segmentBytes: MIB,
    groupBytesMax: 64 * 1024,
    onRecord: (payload) => told.push(idOf(payload)),
  });
  const drained = await drainIds(spool, MIB);
  await spool.close();
  return [...told, ...drained];
}
