import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NotNow } from '../../../src/lib/failure.ts';
import { drainIds, recordOf } from './records.ts';
import { diskError, FOLDER, randomFrom, SimulatedDisk, type Operation } from './simulated-disk.ts';
import { eventsOf, openSpool } from './spool-under-test.ts';

const FIRST_SEGMENT = 'segment-0000000000000001';

/** Fails every operation of a kind on some files. */
function failing(kind: Operation['kind'], names: RegExp, code = 'EIO') {
  return (one: Operation) => (one.kind === kind && names.test(one.name) ? diskError(code) : undefined);
}

/** The process dies in the sync of a file: that fails, and so does everything after it. */
function dyingInSync(names: RegExp) {
  let dead = false;
  return (one: Operation) => {
    dead ||= one.kind === 'sync' && names.test(one.name);
    return dead ? diskError('EIO') : undefined;
  };
}

describe.each(['write', 'sync'] as const)('a failed %s', (kind) => {
  it('moves the group to a fresh segment, and never touches the old one again', async () => {
    const { spool, disk, events } = await openSpool();
    await spool.append(recordOf(1, 1000));
    disk.onOperation = failing(kind, /0001$/);
    await Promise.all([spool.append(recordOf(2, 1000)), spool.append(recordOf(3, 1000))]);
    expect(eventsOf(events, 'poisoned').map((event) => event.segment)).toEqual([1]);
    const poisonedAt = disk.log.findLastIndex((one) => one.kind === kind && one.name === FIRST_SEGMENT);
    await spool.append(recordOf(4, 1000));
    const later = disk.log.slice(poisonedAt + 1).filter((one) => one.name === FIRST_SEGMENT);
    expect(later.map((one) => one.kind).filter((one) => one !== 'close')).toEqual([]);
    expect(await drainIds(spool)).toEqual([1, 2, 3, 4]);
    const reopened = await openSpool(disk.afterPowerCut());
    expect(reopened.told).toEqual([1, 2, 3, 4]);
    expect(await drainIds(reopened.spool)).toEqual([]);
  });

  it('leaves a segment that is removed once its time is over, and never used again', async () => {
    const { spool, disk } = await openSpool();
    await spool.append(recordOf(1, 1000));
    disk.onOperation = failing(kind, /0001$/);
    for (let id = 2; id <= 20; id++) await spool.append(recordOf(id, 1000));
    await drainIds(spool);
    const ofIt = disk.log.filter((one) => one.name === FIRST_SEGMENT).map((one) => one.kind);
    expect([ofIt.includes('remove'), ofIt.includes('rename')]).toEqual([true, false]);
  });

  it('of two segments in a row rejects all that waits, and everything from then on', async () => {
    const { spool, disk, events } = await openSpool();
    await spool.append(recordOf(1, 1000));
    disk.onOperation = failing(kind, /^segment-|^spare-/);
    const appends = [2, 3, 4, 5].map((id) => spool.append(recordOf(id, 1000)));
    const outcomes = await Promise.allSettled(appends);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['rejected', 'rejected', 'rejected', 'rejected']);
    expect(spool.state).toBe('failed');
    expect(eventsOf(events, 'failed')).toHaveLength(1);
    disk.onOperation = () => undefined;
    await expect(spool.append(recordOf(6, 1000))).rejects.toThrow('two segments in a row');
    expect(await drainIds(spool)).toEqual([1]);
    await spool.close();
    expect(spool.state).toBe('closed');
  });

  it('of the applied mark is made good by a fresh file', async () => {
    const { spool, disk } = await openSpool();
    await spool.append(recordOf(1, 1000));
    let failures = 1;
    disk.onOperation = (one) => (one.kind === kind && failures-- > 0 ? diskError('EIO') : undefined);
    expect(await drainIds(spool)).toEqual([1]);
    expect(failures).toBeLessThan(1);
    const reopened = await openSpool(disk.afterPowerCut());
    expect(await drainIds(reopened.spool)).toEqual([]);
  });
});

describe('what is told', () => {
  it('is acknowledged only once the sync is done', async () => {
    const { spool, disk } = await openSpool();
    const gate = Promise.withResolvers<undefined>();
    const reached = Promise.withResolvers<void>();
    disk.onOperation = (one) => {
      if (one.kind !== 'sync') return undefined;
      reached.resolve();
      return gate.promise;
    };
    let acknowledged = false;
    const append = spool.append(recordOf(1, 1000)).then(() => (acknowledged = true));
    await reached.promise;
    expect(acknowledged).toBe(false);
    expect(await spool.read(1)).toBeUndefined();
    gate.resolve(undefined);
    await append;
    expect(await drainIds(spool)).toEqual([1]);
  });

  it('survives a power cut after the process was killed in a failed sync', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const { spool, disk } = await openSpool(new SimulatedDisk(randomFrom(seed)));
      await spool.append(recordOf(1, 1000));
      // The sync fails, which may lose the pages, and the process dies before it can do anything about it.
      disk.onOperation = dyingInSync(/^segment-/);
      await expect(spool.append(recordOf(2, 1000))).rejects.toThrow('failed');
      const second = await openSpool(disk.afterKill());
      // Told at the start, so a resend is answered as known: it has to be on disk now.
      expect(second.told).toEqual([1, 2]);
      const third = await openSpool(second.disk.afterPowerCut());
      expect(third.told).toEqual([1, 2]);
      expect(eventsOf(third.events, 'quarantined')).toEqual([]);
    }
  });

  it('stays applied through a power cut after the process was killed in a failed sync of the mark', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const { spool, disk } = await openSpool(new SimulatedDisk(randomFrom(seed)));
      await spool.append(recordOf(1, 1000));
      const batch = await spool.read(1);
      disk.onOperation = dyingInSync(/^applied$/);
      await expect(spool.markApplied(batch!.end)).rejects.toThrow('EIO');
      const second = await openSpool(disk.afterKill());
      const left = await drainIds(second.spool).then((ids) => ids.length);
      const third = await openSpool(second.disk.afterPowerCut());
      expect([left, await drainIds(third.spool)]).toEqual([left, []]);
    }
  });
});

describe('a full disk', () => {
  it('is no failure: appends are turned away until there is room', async () => {
    const { spool, disk } = await openSpool();
    disk.freeBytesLeft = 0;
    const outcomes = [];
    for (let id = 1; id <= 12; id++) outcomes.push(await spool.append(recordOf(id, 1000)).catch((reason) => reason));
    const refused = outcomes.filter((outcome) => outcome !== undefined);
    expect(refused.length).toBeGreaterThan(0);
    for (const reason of refused) {
      expect(reason).toBeInstanceOf(NotNow);
      expect(reason).toMatchObject({ kind: 'resource_exhausted', retryAfterMs: 1000 });
    }
    disk.freeBytesLeft = 1e9;
    await spool.append(recordOf(13, 1000));
    expect(spool.state).toBe('open');
    expect((await drainIds(spool)).length).toBe(13 - refused.length);
  });

  it.each(['write', 'sync'] as const)('that shows only at the %s is none either', async (kind) => {
    const { spool, disk } = await openSpool();
    disk.onOperation = failing(kind, /^segment-|^spare-/, 'ENOSPC');
    await expect(spool.append(recordOf(1, 1000))).rejects.toMatchObject({ kind: 'resource_exhausted' });
    disk.onOperation = () => undefined;
    await spool.append(recordOf(2, 1000));
    expect(await drainIds(spool)).toEqual([2]);
  });
});

describe('a failure while opening', () => {
  it('is thrown, and the next start is none the worse', async () => {
    const { spool, disk } = await openSpool();
    for (let id = 1; id <= 6; id++) await spool.append(recordOf(id, 1000));
    const killed = disk.afterKill();
    killed.onOperation = (one) => (one.kind === 'read' ? diskError('EIO') : undefined);
    await expect(openSpool(killed)).rejects.toThrow('EIO');
    const reopened = await openSpool(killed.afterKill());
    expect(await drainIds(reopened.spool)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('of another format version is told as such', async () => {
    const { spool, disk } = await openSpool();
    await spool.append(recordOf(1, 1000));
    await spool.close();
    const bytes = disk.bytesOf(join(FOLDER, FIRST_SEGMENT));
    for (const offset of [8, 4096 + 8]) bytes.writeUInt32LE(7, offset);
    await expect(openSpool(disk.afterKill())).rejects.toThrow('format version 7');
  });
});
