import type { SpoolEvent } from '../../../src/ingest/spool/events.ts';
import { Spool, type SpoolOptions } from '../../../src/ingest/spool/spool.ts';
import { idOf } from './records.ts';
import { FOLDER, randomFrom, SimulatedDisk } from './simulated-disk.ts';

/** Room for four records of 1000 bytes. */
export const SEGMENT_BYTES = 8192 + 4 * 1032;

/** A spool with small segments on a simulated disk, with all that it told. */
export interface UnderTest {
  readonly spool: Spool;
  readonly disk: SimulatedDisk;
  readonly events: SpoolEvent[];
  readonly told: number[];
}

export async function openSpool(
  disk = new SimulatedDisk(randomFrom(1)),
  options: Partial<SpoolOptions> = {},
): Promise<UnderTest> {
  const events: SpoolEvent[] = [];
  const told: number[] = [];
  const spool = await Spool.open({
    folder: FOLDER,
    disk,
    quotaBytes: 100 * SEGMENT_BYTES,
    segmentBytes: SEGMENT_BYTES,
    groupBytesMax: 2064,
    keepAppliedSegments: 2,
    onRecord: (payload) => told.push(idOf(payload)),
    onEvent: (event) => events.push(event),
    ...options,
  });
  return { spool, disk, events, told };
}

/** The events of one type. */
export function eventsOf<T extends SpoolEvent['type']>(
  events: readonly SpoolEvent[],
  type: T,
): Extract<SpoolEvent, { type: T }>[] {
  return events.filter((event): event is Extract<SpoolEvent, { type: T }> => event.type === type);
}
