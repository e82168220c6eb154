import { join } from 'node:path';
import { deepEqual } from 'node:assert/strict';
import * as fc from 'fast-check';
import type { SpoolEvent } from '../../../src/ingest/spool/events.ts';
import { drainIds, recordOf } from './records.ts';
import { FOLDER, randomFrom, SimulatedDisk } from './simulated-disk.ts';
import { eventsOf, openSpool } from './spool-under-test.ts';

export const RECORDS = 14;
export const HEADER_BYTES = 8192;
export const FRAME_BYTES = 1032;
const HEADER_COPY_BYTES = 36;
const RECORDS_PER_SEGMENT = 4;

/** Fourteen records of 1000 bytes in four segments, closed in order or killed. */
export async function filled(seed: number, closed = true): Promise<SimulatedDisk> {
  const { spool, disk } = await openSpool(new SimulatedDisk(randomFrom(seed)));
  for (let id = 1; id <= RECORDS; id++) await spool.append(recordOf(id, 1000));
  if (closed) await spool.close();
  return disk.afterKill();
}

export function segmentPath(number: number): string {
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

/**
 * Whatever harm is done to segments, no wrong record is delivered, those that no harm came to are, and every missing one is
 * counted.
 * @param seed another one tries other harm; chosen anew where left out
 * @throws Error with the least harm that goes wrong, and the seed and path that replay it
 */
export async function checkDamage(runs: number, seed?: number): Promise<void> {
  const harms = fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), harm), { minLength: 1, maxLength: 4 });
  const parameters = { numRuns: runs, ...(seed === undefined ? {} : { seed: seed | 0 }) };
  await fc.assert(fc.asyncProperty(fc.integer(), fc.boolean(), harms, doHarm), parameters);
}

/** The records whose bytes are where and what they were, in a segment with one of its headers left. */
function unharmedIds(before: ReadonlyMap<number, Buffer>, disk: SimulatedDisk): number[] {
  const isSame = (segment: number, from: number, bytes: number): boolean => {
    const was = before.get(segment)?.subarray(from, from + bytes);
    return (
      was !== undefined &&
      disk
        .bytesOf(segmentPath(segment))
        .subarray(from, from + bytes)
        .equals(was)
    );
  };
  return Array.from({ length: RECORDS }, (_, index) => index + 1).filter((id) => {
    const segment = Math.ceil(id / RECORDS_PER_SEGMENT);
    const offset = HEADER_BYTES + ((id - 1) % RECORDS_PER_SEGMENT) * FRAME_BYTES;
    const hasHeader = isSame(segment, 0, HEADER_COPY_BYTES) || isSame(segment, HEADER_BYTES / 2, HEADER_COPY_BYTES);
    return hasHeader && isSame(segment, offset, FRAME_BYTES);
  });
}

async function doHarm(seed: number, closed: boolean, harms: readonly (readonly [number, Harm])[]): Promise<void> {
  const disk = await filled(seed, closed);
  const before = new Map([1, 2, 3, 4].map((segment) => [segment, Buffer.from(disk.bytesOf(segmentPath(segment)))]));
  for (const [segment, apply] of harms) {
    const path = segmentPath(segment);
    if (disk.bytesOf(path).length > 0) disk.setBytes(path, apply(Buffer.from(disk.bytesOf(path))));
  }
  const unharmed = unharmedIds(before, disk);
  const { spool, events, told } = await openSpool(disk);
  const delivered = await drainIds(spool);
  deepEqual(delivered, told);
  deepEqual(
    unharmed.filter((id) => !delivered.includes(id)),
    [],
  );
  deepEqual(
    delivered,
    [...new Set(delivered)].toSorted((a, b) => a - b),
  );
  deepEqual(
    delivered.filter((id) => id < 1 || id > RECORDS),
    [],
  );
  // Without a mark from closing, nothing tells how far the spool went.
  const lastKnown = closed ? RECORDS : Math.max(0, ...delivered);
  deepEqual(lostIn(events), lastKnown - delivered.length);
  await spool.append(recordOf(100, 1000));
  deepEqual(await drainIds(spool), [100]);
}
