import { writeSync } from 'node:fs';
import { realDisk, type SpoolDisk } from '../../../src/ingest/spool/disk.ts';
import { Spool } from '../../../src/ingest/spool/spool.ts';
import { recordOf } from './records.ts';

/**
 * Appends, drains and says on standard output what was acknowledged and applied, until someone kills the process. With
 * `unsynced` as third argument nothing is ever synced, which shows whether a power cut is one; with `undrained` as fourth
 * nothing is drained, so that everything acknowledged has to be there.
 */
const [folder = '', firstId = '1', syncs = 'synced', drains = 'drained'] = process.argv.slice(2);

const spool = await Spool.open({
  folder,
  quotaBytes: 64 * 1024 * 1024,
  segmentBytes: 1024 * 1024,
  groupBytesMax: 64 * 1024,
  keepAppliedSegments: 1,
  disk: syncs === 'unsynced' ? withoutSync(realDisk) : realDisk,
});
let nextId = Number(firstId);
writeSync(1, 'open\n');

async function append(): Promise<never> {
  for (;;) {
    const id = nextId++;
    await spool.append(recordOf(id, 4 + ((id * 7919) % 20_000)));
    writeSync(1, `acknowledged ${id}\n`);
  }
}

async function drain(): Promise<never> {
  const never = new AbortController();
  for (;;) {
    await spool.waitForRecords(never.signal);
    const batch = await spool.read(200_000);
    if (batch === undefined) continue;
    const ids = batch.payloads.map((payload) => Buffer.from(payload).readUInt32LE(0));
    // Said before it is done: what may be gone, not what must be.
    writeSync(1, `${ids.map((id) => `applying ${id}`).join('\n')}\n`);
    await spool.markApplied(batch.end);
  }
}

await Promise.all([...(drains === 'drained' ? [drain()] : []), ...Array.from({ length: 16 }, append)]);

function withoutSync(disk: SpoolDisk): SpoolDisk {
  return {
    ...disk,
    open: async (path, mode) => {
      const file = await disk.open(path, mode);
      return {
        sizeBytes: () => file.sizeBytes(),
        read: (target, position) => file.read(target, position),
        write: (bytes, position) => file.write(bytes, position),
        sync: async () => undefined,
        close: () => file.close(),
      };
    },
    syncFolder: async () => undefined,
  };
}
