import { expect, it } from 'vitest';
import type { SpoolEvent } from '../../../src/ingest/spool/events.ts';
import { Quarantine } from '../../../src/ingest/spool/quarantine.ts';
import { FOLDER, randomFrom, SimulatedDisk } from './simulated-disk.ts';
import { eventsOf } from './spool-under-test.ts';

it('keeps sixteen files, once each, and tells of every damage', async () => {
  const disk = new SimulatedDisk(randomFrom(1));
  const events: SpoolEvent[] = [];
  const damage = { segment: 1, bytes: 1, lostRecords: 1, lostUnapplied: 1 };
  // A start finds the same damage again, as long as the segment is there.
  for (let start = 0; start < 2; start++) {
    const quarantine = await Quarantine.open(disk, FOLDER, (event) => events.push(event));
    for (let offset = 1; offset <= 20; offset++) {
      await quarantine.report({ ...damage, reason: 'frame', acknowledged: 'certainly', offset }, Buffer.alloc(1));
    }
  }
  expect(disk.names(`${FOLDER}/quarantine`)).toHaveLength(16);
  const copies = eventsOf(events, 'quarantined').map(({ copy }) => copy !== undefined);
  expect(copies).toEqual([0, 1].flatMap(() => Array.from({ length: 20 }, (_, at) => at < 16)));
});
