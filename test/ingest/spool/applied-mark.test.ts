import { expect, it } from 'vitest';
import { AppliedMark, type Mark } from '../../../src/ingest/spool/applied-mark.ts';
import { diskError, FOLDER, randomFrom, SimulatedDisk } from './simulated-disk.ts';

const markAt = (record: number): Mark => ({
  applied: { record, segment: 1, offset: 8192 + record },
  durableRecord: record,
});

it.each(['write', 'sync', 'neither'])('is on disk once it was written, where the first %s failed', async (kind) => {
  // A name that is not synced is lost in a power cut by chance.
  for (let seed = 0; seed < 20; seed++) {
    const disk = new SimulatedDisk(randomFrom(seed));
    await disk.makeFolder();
    const mark = await AppliedMark.create(disk, FOLDER);
    let failures = 1;
    disk.onOperation = (one) => (one.kind === kind && failures-- > 0 ? diskError('EIO') : undefined);
    await mark.write(markAt(7));
    const found = await AppliedMark.open(disk.afterPowerCut(), FOLDER);
    expect(found?.mark).toEqual(markAt(7));
  }
});
