import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SpoolEvent } from '../../../src/ingest/spool/events.ts';
import { drainIds, recordOf } from './records.ts';
import { FOLDER, randomFrom, SimulatedDisk } from './simulated-disk.ts';
import { eventsOf, openSpool } from './spool-under-test.ts';

const RECORDS = 14;
const HEADER_BYTES = 8192;
const FRAME_BYTES = 1032;

/** Fourteen records of 1000 bytes in four segments, closed in order or killed. */
async function filled(seed: number, closed = true): Promise<SimulatedDisk> {
  const { spool, disk } = await openSpool(new SimulatedDisk(randomFrom(seed)));
  for (let id = 1; id <= RECORDS; id++) await spool.append(recordOf(id, 1000));
  if (closed) await spool.close();
  return disk.afterKill();
}

function segmentPath(number: number): string {
  return join(FOLDER, `segment-${String(number).padStart(16, '0')}`);
}

type Harm = (bytes: Buffer) => Buffer;

const spot = { at: fc.integer({ min: 0, max: 13_000 }), bytes: fc.integer({ min: 1, max: 6000 }) };
const harm: fc.Arbitrary<Harm> = fc.oneof(
  fc.record({ at: spot.at, bit: fc.nat(7) }).map(({ at, bit }): Harm => (bytes) => {
    const where = at % bytes.length;
    bytes.writeUInt8(bytes.readUInt8(where) ^ (1 << bit), where);
    return bytes;
  }),
  fc.record(spot).map(({ at, bytes }): Harm => (all) => {
    all
      .subarray(at % all.length)
      .subarray(0, bytes)
      .fill(0);
    return all;
  }),
  fc.record({ ...spot, to: spot.at }).map(({ at, bytes, to }): Harm => (all) => {
    all.copy(all, to % all.length, at % all.length, (at % all.length) + bytes);
    return all;
  }),
  fc.record({ at: spot.at }).map(
    ({ at }): Harm =>
      (all) =>
        all.subarray(0, at % all.length),
  ),
);

/** How many records the events say are lost. */
function lostIn(events: readonly SpoolEvent[]): number {
  return eventsOf(events, 'quarantined').reduce((sum, event) => sum + event.lostUnapplied, 0);
}

describe('damage on disk', () => {
  it('never delivers a wrong record, and every missing one is counted', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer(),
        fc.boolean(),
        fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), harm), { minLength: 1, maxLength: 4 }),
        async (seed, closed, harms) => {
          const disk = await filled(seed, closed);
          for (const [segment, apply] of harms) {
            const path = segmentPath(segment);
            if (disk.bytesOf(path).length > 0) disk.setBytes(path, apply(Buffer.from(disk.bytesOf(path))));
          }
          const { spool, events, told } = await openSpool(disk);
          const delivered = await drainIds(spool);
          expect(delivered).toEqual(told);
          expect(delivered).toEqual([...new Set(delivered)].toSorted((a, b) => a - b));
          expect(delivered.every((id) => id >= 1 && id <= RECORDS)).toBe(true);
          // Without a mark from closing, nothing tells how far the spool went.
          const lastKnown = closed ? RECORDS : Math.max(0, ...delivered);
          expect(lostIn(events)).toBe(lastKnown - delivered.length);
          await spool.append(recordOf(100, 1000));
          expect(await drainIds(spool)).toEqual([100]);
        },
      ),
      { numRuns: Number(process.env['SPOOL_CORRUPTION_RUNS'] ?? 300) },
    );
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
