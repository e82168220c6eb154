import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { drainIds, recordOf } from './records.ts';
import { checkDamage, filled, FRAME_BYTES, HEADER_BYTES, RECORDS, segmentPath } from './damage.ts';
import { FOLDER } from './simulated-disk.ts';
import { eventsOf, openSpool } from './spool-under-test.ts';

describe('damage on disk', () => {
  it('never delivers a wrong record, and every missing one is counted', async () => {
    await checkDamage(Number(process.env['SPOOL_CORRUPTION_RUNS'] ?? 300));
  });

  it('of one frame is reported with its place, and its bytes are kept', async () => {
    const disk = await filled(1);
    const offset = HEADER_BYTES + FRAME_BYTES;
    disk.bytesOf(segmentPath(2)).writeUInt8(0xff, offset + 500);
    const { spool, events } = await openSpool(disk);
    expect(eventsOf(events, 'quarantined')).toEqual([
      {
        type: 'quarantined',
        reason: 'frame',
        segment: 2,
        offset,
        bytes: FRAME_BYTES,
        lostRecords: 1,
        lostUnapplied: 1,
        acknowledged: 'certainly',
        copy: `segment-2-at-${offset}-frame`,
      },
    ]);
    const copy = disk.bytesOf(join(FOLDER, 'quarantine', `segment-2-at-${offset}-frame`));
    expect(copy).toEqual(disk.bytesOf(segmentPath(2)).subarray(offset, offset + FRAME_BYTES));
    expect(await drainIds(spool)).toEqual([1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14]);
  });

  it('of what is applied is no loss', async () => {
    const { spool, disk } = await openSpool();
    for (let id = 1; id <= RECORDS; id++) await spool.append(recordOf(id, 1000));
    await drainIds(spool);
    disk.bytesOf(segmentPath(3)).writeUInt8(0xff, HEADER_BYTES + FRAME_BYTES + 500);
    const { events } = await openSpool(disk.afterKill());
    expect(eventsOf(events, 'quarantined')).toMatchObject([{ lostRecords: 1, lostUnapplied: 0 }]);
  });

  it('of the last group before a crash is only possibly a loss', async () => {
    const { spool, disk } = await openSpool();
    await spool.append(recordOf(1, 1000));
    await Promise.all([spool.append(recordOf(2, 1000)), spool.append(recordOf(3, 1000))]);
    disk.bytesOf(segmentPath(1)).writeUInt8(0xff, HEADER_BYTES + FRAME_BYTES + 500);
    const { events, disk: after } = await openSpool(disk.afterKill());
    expect(eventsOf(events, 'quarantined')).toMatchObject([{ lostRecords: 1, acknowledged: 'possibly' }]);
    // The place of the lost record is kept, so that the next start has nothing to report.
    const again = await openSpool(after.afterKill());
    expect(eventsOf(again.events, 'quarantined')).toEqual([]);
    expect(again.told).toEqual([1, 3]);
    expect(await drainIds(again.spool, 1)).toEqual([1, 3]);
  });

  it('of the first record of the last group makes the others look no older', async () => {
    const clock = { nowMs: () => 1_000_000, nowNanos: () => 1_000_000_000_000n };
    const { spool, disk } = await openSpool(undefined, { clock });
    await Promise.all([spool.append(recordOf(1, 1000)), spool.append(recordOf(2, 1000))]);
    disk.bytesOf(segmentPath(1)).writeUInt8(0xff, HEADER_BYTES + 500);
    const after = await openSpool(disk.afterKill(), { clock });
    expect(after.spool.stats()).toMatchObject({ unappliedRecords: 2, oldestUnappliedAgeMs: 0 });
  });

  it('found while reading is left out and reported, and what is behind it comes', async () => {
    const { spool, disk, events } = await openSpool();
    for (let id = 1; id <= 6; id++) await spool.append(recordOf(id, 1000));
    disk.bytesOf(segmentPath(1)).writeUInt8(0xff, HEADER_BYTES + FRAME_BYTES + 500);
    disk.bytesOf(segmentPath(2)).writeUInt8(0xff, HEADER_BYTES + FRAME_BYTES + 500);
    expect(await drainIds(spool)).toEqual([1, 3, 4, 5]);
    await spool.append(recordOf(7, 1000));
    expect(await drainIds(spool)).toEqual([7]);
    expect(eventsOf(events, 'quarantined')).toMatchObject([
      { segment: 1, offset: HEADER_BYTES + FRAME_BYTES, bytes: FRAME_BYTES, lostRecords: 1 },
      { segment: 2, offset: HEADER_BYTES + FRAME_BYTES, bytes: FRAME_BYTES, lostRecords: 1 },
    ]);
  });

  it('found while reading does not hide what is synced meanwhile', async () => {
    const { spool, disk } = await openSpool();
    for (let id = 1; id <= 2; id++) await spool.append(recordOf(id, 1000));
    disk.bytesOf(segmentPath(1)).writeUInt8(0xff, HEADER_BYTES + 500);
    const secondLook = Promise.withResolvers<undefined>();
    const looking = Promise.withResolvers<void>();
    let reads = 0;
    disk.onOperation = (one) => {
      if (one.kind !== 'read' || ++reads !== 2) return undefined;
      looking.resolve();
      return secondLook.promise;
    };
    const reading = spool.read(1);
    await looking.promise;
    await spool.append(recordOf(3, 1000));
    secondLook.resolve(undefined);
    expect((await reading)?.payloads).toEqual([recordOf(2, 1000)]);
    expect(await drainIds(spool)).toEqual([2, 3]);
  });

  it('of whole segments: missing, without a header, cut at the end', async () => {
    const missing = await filled(1);
    await missing.remove(segmentPath(2));
    const first = await openSpool(missing);
    expect(eventsOf(first.events, 'quarantined')).toMatchObject([
      { reason: 'segment-missing', segment: 1, lostRecords: 4, lostUnapplied: 4 },
    ]);
    expect(first.told).toEqual([1, 2, 3, 4, 9, 10, 11, 12, 13, 14]);

    const headless = await filled(2);
    headless.bytesOf(segmentPath(2)).fill(0, 0, HEADER_BYTES);
    const second = await openSpool(headless);
    expect(eventsOf(second.events, 'quarantined')).toMatchObject([
      { reason: 'header', segment: 2, copy: 'segment-2-at-0-header' },
      { reason: 'segment-end', segment: 2, lostRecords: 4 },
    ]);

    const lastHeadless = await filled(2);
    lastHeadless.bytesOf(segmentPath(4)).fill(0, 0, HEADER_BYTES);
    const last = await openSpool(lastHeadless);
    expect(eventsOf(last.events, 'quarantined')).toMatchObject([
      { reason: 'header', segment: 4, copy: 'segment-4-at-0-header' },
      { reason: 'spool-end', lostRecords: 2 },
    ]);

    const cut = await filled(3);
    cut.setBytes(segmentPath(4), cut.bytesOf(segmentPath(4)).subarray(0, HEADER_BYTES + FRAME_BYTES));
    const third = await openSpool(cut);
    expect(eventsOf(third.events, 'quarantined')).toMatchObject([{ reason: 'spool-end', lostRecords: 1 }]);
    expect(third.told.at(-1)).toBe(13);
  });

  it('of the applied mark delivers everything again', async () => {
    const { spool, disk } = await openSpool();
    for (let id = 1; id <= 3; id++) await spool.append(recordOf(id, 1000));
    expect(await drainIds(spool)).toEqual([1, 2, 3]);
    await spool.close();
    disk.bytesOf(join(FOLDER, 'applied')).fill(0);
    const reopened = await openSpool(disk.afterKill());
    expect(eventsOf(reopened.events, 'quarantined')).toMatchObject([{ reason: 'mark' }]);
    expect(await drainIds(reopened.spool)).toEqual([1, 2, 3]);
  });
});
