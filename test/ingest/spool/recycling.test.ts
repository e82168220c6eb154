import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { drainIds, recordOf } from './records.ts';
import { diskError, FOLDER, randomFrom, SimulatedDisk } from './simulated-disk.ts';
import { eventsOf, openSpool, SEGMENT_BYTES } from './spool-under-test.ts';

async function fill(spool: Awaited<ReturnType<typeof openSpool>>['spool'], from: number, to: number): Promise<void> {
  for (let id = from; id <= to; id++) await spool.append(recordOf(id, 1000));
}

describe('segments', () => {
  it('are used over and over, and keep to a bounded number of files', async () => {
    const { spool, disk } = await openSpool();
    for (let round = 0; round < 20; round++) {
      await fill(spool, round * 8 + 1, round * 8 + 8);
      await drainIds(spool);
    }
    const names = disk.names(FOLDER).filter((name) => /^(segment|spare)/.test(name));
    expect(names.length).toBeLessThanOrEqual(6);
    const recycled = disk.log.filter((one) => one.kind === 'rename' && one.name.startsWith('segment')).length;
    expect(recycled).toBeGreaterThan(10);
  });

  it('show nothing of what they held before', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 3 }), async (seed, records) => {
        const { spool, disk } = await openSpool(new SimulatedDisk(randomFrom(seed)), { keepAppliedSegments: 0 });
        await fill(spool, 1, 16);
        expect(await drainIds(spool)).toHaveLength(16);
        await fill(spool, 17, 16 + records);
        const reopened = await openSpool(disk.afterPowerCut(), { keepAppliedSegments: 0 });
        expect(await drainIds(reopened.spool)).toEqual(Array.from({ length: records }, (_, index) => 17 + index));
        expect(reopened.told.every((id) => id > 12)).toBe(true);
        expect(eventsOf(reopened.events, 'quarantined')).toEqual([]);
      }),
      { numRuns: 30 },
    );
  });

  it('get another epoch with each use', async () => {
    const { spool, disk } = await openSpool(undefined, { keepAppliedSegments: 0 });
    const epochs = new Set<bigint>();
    for (let id = 1; id <= 40; id++) {
      await fill(spool, id, id);
      await drainIds(spool);
      for (const name of disk.names(FOLDER).filter((one) => one.startsWith('segment'))) {
        epochs.add(disk.bytesOf(join(FOLDER, name)).readBigUInt64LE(24));
      }
    }
    expect(epochs.size).toBeGreaterThanOrEqual(10);
  });

  it('are recycled only once the mark is on disk', async () => {
    const { spool, disk } = await openSpool(undefined, { keepAppliedSegments: 0 });
    await fill(spool, 1, 20);
    for (let segment = 1; segment <= 4; segment++) {
      const batch = await spool.read(100_000);
      const before = disk.log.length;
      disk.onOperation = (one) => (one.name.startsWith('applied') ? diskError('EIO') : undefined);
      await expect(spool.markApplied(batch!.end)).rejects.toThrow('EIO');
      disk.onOperation = () => undefined;
      expect(disk.log.slice(before).filter((one) => one.name.startsWith('segment'))).toEqual([]);
      await spool.markApplied(batch!.end);
      expect(disk.log.slice(before).filter((one) => one.name.startsWith('segment')).length).toBeGreaterThan(0);
    }
  });

  it('are kept as history behind the mark', async () => {
    const { spool, disk } = await openSpool();
    await fill(spool, 1, 20);
    await drainIds(spool, 100_000);
    const reopened = await openSpool(disk.afterPowerCut());
    // Two applied segments are kept beside the newest.
    expect(reopened.told).toEqual([9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
    expect(await drainIds(reopened.spool)).toEqual([]);
  });

  it('are not used up by restarts that add nothing', async () => {
    let { spool, disk } = await openSpool();
    await spool.append(recordOf(1, 100));
    for (let restart = 0; restart < 20; restart++) {
      ({ spool, disk } = await openSpool(disk.afterPowerCut()));
    }
    expect(disk.names(FOLDER).filter((name) => /^(segment|spare)/.test(name)).length).toBeLessThanOrEqual(4);
    expect(await drainIds(spool)).toEqual([1]);
  });

  it('of another size are drained, not reused', async () => {
    const { spool, disk } = await openSpool();
    await fill(spool, 1, 9);
    await spool.close();
    const options = { segmentBytes: SEGMENT_BYTES + 4096, keepAppliedSegments: 0 };
    const reopened = await openSpool(disk.afterKill(), options);
    await fill(reopened.spool, 10, 20);
    expect(await drainIds(reopened.spool)).toHaveLength(20);
    for (const name of reopened.disk.names(FOLDER).filter((one) => /^(segment|spare)/.test(one))) {
      expect(reopened.disk.bytesOf(join(FOLDER, name))).toHaveLength(SEGMENT_BYTES + 4096);
    }
  });
});
