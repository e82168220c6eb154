import { describe, expect, it } from 'vitest';
import { CallerFault } from '../../../src/lib/failure.ts';
import { drainIds, idOf, recordOf } from './records.ts';
import { diskError, randomFrom, SimulatedDisk } from './simulated-disk.ts';
import { eventsOf, openSpool, SEGMENT_BYTES } from './spool-under-test.ts';

describe('a spool', () => {
  it('gives records back in order, over segments and restarts, until they are marked', async () => {
    const { spool, disk } = await openSpool();
    for (let id = 1; id <= 10; id++) await spool.append(recordOf(id, 100 * id));
    const first = await spool.read(500);
    expect(first?.payloads.map(idOf)).toEqual([1, 2]);
    expect((await spool.read(500))?.payloads.map(idOf)).toEqual([1, 2]);
    await spool.markApplied(first!.end);
    await spool.close();
    const reopened = await openSpool(disk.afterKill());
    expect(reopened.told).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(reopened.spool.stats()).toMatchObject({ unappliedRecords: 8, state: 'open' });
    expect(await drainIds(reopened.spool)).toEqual([3, 4, 5, 6, 7, 8, 9, 10]);
    await reopened.spool.append(recordOf(11, 10));
    expect(await drainIds(reopened.spool)).toEqual([11]);
  });

  it('puts the parts of a record together, and does not keep the caller to its bytes', async () => {
    const { spool } = await openSpool();
    const record = recordOf(7, 300);
    const parts = [record.subarray(0, 1), record.subarray(1, 1), record.subarray(1, 200), record.subarray(200)];
    const append = spool.append(parts);
    record.fill(0);
    await append;
    expect(await drainIds(spool)).toEqual([7]);
  });

  it('syncs what came in together at once, and what came in meanwhile next', async () => {
    const { spool, events } = await openSpool();
    const appends = [1, 2, 3].map((id) => spool.append(recordOf(id, 100)));
    await Promise.all(appends);
    await spool.append(recordOf(4, 100));
    expect(eventsOf(events, 'group-synced').map((event) => event.records)).toEqual([3, 1]);
  });

  it('starts without writing the last group again where it was closed', async () => {
    const { spool, disk } = await openSpool();
    await spool.append(recordOf(1, 100));
    await spool.close();
    const reopened = await openSpool(disk.afterPowerCut());
    expect(eventsOf(reopened.events, 'group-synced')).toEqual([]);
    expect(await drainIds(reopened.spool)).toEqual([1]);
  });

  it('refuses a record that is too large, and one that is empty', async () => {
    const { spool } = await openSpool();
    expect(spool.recordBytesMax).toBe(2032);
    await spool.append(recordOf(1, 2032));
    await expect(spool.append(recordOf(2, 2033))).rejects.toThrow(CallerFault);
    await expect(spool.append(recordOf(2, 2033))).rejects.toThrow("2033 bytes is more than the spool's 2032");
    await expect(spool.append([])).rejects.toThrow('at least one byte');
    expect(await drainIds(spool)).toEqual([1]);
  });

  it('refuses a position that it never gave', async () => {
    const { spool } = await openSpool();
    await expect(spool.markApplied({ record: 1, segment: 1, offset: 9000 })).rejects.toThrow(
      'behind the last record 0',
    );
  });

  it('is closed once, after what was taken is on disk', async () => {
    const { spool, disk } = await openSpool();
    const append = spool.append(recordOf(1, 100));
    await Promise.all([spool.close(), spool.close()]);
    await append;
    expect(spool.state).toBe('closed');
    await expect(spool.append(recordOf(2, 100))).rejects.toThrow('closed');
    await expect(spool.read(1)).rejects.toThrow('closed');
    // One open found no file: there was no mark yet.
    const opened = disk.log.filter((one) => one.kind === 'open').length - 1;
    expect(disk.log.filter((one) => one.kind === 'close').length).toBe(opened);
    expect((await openSpool(disk.afterPowerCut())).told).toEqual([1]);
  });

  it('rejects options out of bounds', async () => {
    const disk = new SimulatedDisk(randomFrom(1));
    await expect(openSpool(disk, { quotaBytes: 3 * SEGMENT_BYTES })).rejects.toThrow('quotaBytes');
    await expect(openSpool(disk, { groupBytesMax: SEGMENT_BYTES })).rejects.toThrow('groupBytesMax');
  });
});

describe('waiting for records', () => {
  it('ends with an append, with the signal, and with closing', async () => {
    const { spool } = await openSpool();
    const never = new AbortController();
    const waiting = spool.waitForRecords(never.signal);
    await spool.append(recordOf(1, 100));
    await waiting;
    await spool.waitForRecords(never.signal);
    expect(await drainIds(spool)).toEqual([1]);
    const stopped = new AbortController();
    const aborted = spool.waitForRecords(stopped.signal);
    stopped.abort();
    await aborted;
    const closing = spool.waitForRecords(never.signal);
    await spool.close();
    await closing;
  });
});

describe('the figures', () => {
  it('count what is unapplied, and how old it is', async () => {
    let nowMs = 1_000_000;
    const clock = { nowMs: () => nowMs, nowNanos: () => BigInt(nowMs) * 1_000_000n };
    const { spool, disk } = await openSpool(new SimulatedDisk(randomFrom(1)), { clock });
    expect(spool.stats()).toMatchObject({ unappliedRecords: 0, unappliedBytes: 0, oldestUnappliedAgeMs: 0 });
    await spool.append(recordOf(1, 1000));
    nowMs += 5000;
    await spool.append(recordOf(2, 1000));
    expect(spool.stats()).toMatchObject({ unappliedRecords: 2, unappliedBytes: 2064, oldestUnappliedAgeMs: 5000 });
    nowMs += 2000;
    const reopened = await openSpool(disk.afterPowerCut(), { clock });
    expect(reopened.spool.stats()).toMatchObject({ unappliedRecords: 2, oldestUnappliedAgeMs: 7000 });
    const batch = await reopened.spool.read(1);
    await reopened.spool.markApplied(batch!.end);
    expect(reopened.spool.stats()).toMatchObject({ unappliedRecords: 1, oldestUnappliedAgeMs: 2000 });
    expect(await drainIds(reopened.spool)).toEqual([2]);
    expect(reopened.spool.stats()).toMatchObject({ unappliedRecords: 0, unappliedBytes: 0, oldestUnappliedAgeMs: 0 });
  });
});

describe('the bounds', () => {
  it('of the quota: refuses at four fifths, and goes on once there is room', async () => {
    const { spool, disk, events } = await openSpool(undefined, { quotaBytes: 10 * SEGMENT_BYTES });
    let taken = 0;
    while (
      await spool.append(recordOf(taken + 1, 1000)).then(
        () => true,
        () => false,
      )
    )
      taken++;
    // Each segment carries four records; the header of a small segment takes its part of the quota.
    expect(taken).toBeGreaterThanOrEqual(36);
    expect(disk.names('/spool').filter((name) => /^(segment|spare)/.test(name)).length).toBeLessThanOrEqual(10);
    await expect(spool.append(recordOf(999, 1000))).rejects.toMatchObject({
      kind: 'resource_exhausted',
      retryAfterMs: 1000,
    });
    const batch = await spool.read(20_000);
    for (let rounds = 0; rounds < 3; rounds++) await spool.markApplied((await spool.read(20_000))!.end);
    expect(batch?.payloads.length).toBe(4);
    await spool.append(recordOf(taken + 1, 1000));
    expect(eventsOf(events, 'poisoned')).toEqual([]);
    expect((await drainIds(spool)).at(-1)).toBe(taken + 1);
  });

  it('of the quota in bytes of records', async () => {
    const asked: number[] = [];
    const retryAfterMs = (bytes: number) => asked.push(bytes) + 4000;
    const options = { segmentBytes: 8192 + 100 * 1032, quotaBytes: 4 * (8192 + 100 * 1032), retryAfterMs };
    const { spool, events } = await openSpool(undefined, options);
    const bytesMax = Math.floor((options.quotaBytes * 4) / 5);
    for (let id = 1; id < Math.floor(bytesMax / 1032); id++) await spool.append(recordOf(id, 1000));
    // There is room for one more: what is taken and not yet written counts.
    const last = await Promise.allSettled([spool.append(recordOf(998, 1000)), spool.append(recordOf(999, 1000))]);
    expect(last.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected']);
    await expect(spool.append(recordOf(999, 1000))).rejects.toMatchObject({
      message: expect.stringContaining(`takes at most ${bytesMax}`),
      retryAfterMs: 4002,
    });
    // What is over the bound is what has to be stored first.
    expect(asked).toEqual([1, 2].map(() => expect.toSatisfy((bytes: number) => bytes > 0 && bytes <= 1032)));
    expect(eventsOf(events, 'refused').map((event) => event.reason)).toEqual(['quota', 'quota']);
  });

  it('of a start at the quota: what it needs to write again finds room', async () => {
    const { spool, disk } = await openSpool(undefined, { quotaBytes: 4 * SEGMENT_BYTES });
    let taken = 0;
    while (
      await spool.append(recordOf(taken + 1, 1000)).then(
        () => true,
        () => false,
      )
    )
      taken++;
    const reopened = await openSpool(disk.afterPowerCut(), { quotaBytes: 4 * SEGMENT_BYTES });
    expect(reopened.told.length).toBe(taken);
    expect((await drainIds(reopened.spool)).length).toBe(taken);
    await reopened.spool.append(recordOf(taken + 1, 1000));
  });

  it('of the disk: refuses while it is low, and asks again after a second', async () => {
    let nowMs = 0;
    const clock = { nowMs: () => nowMs, nowNanos: () => BigInt(nowMs) * 1_000_000n };
    const { spool, disk, events } = await openSpool(undefined, { clock, freeDiskBytesMin: 1000 });
    await spool.append(recordOf(1, 100));
    disk.freeBytesLeft = 999;
    nowMs += 1000;
    // The answer is waited for by nobody: the append that asks goes by the last one.
    await spool.append(recordOf(2, 100));
    await expect(spool.append(recordOf(3, 100))).rejects.toThrow('less than 1000 bytes free');
    expect(eventsOf(events, 'refused')).toEqual([{ type: 'refused', reason: 'disk' }]);
    disk.freeBytesLeft = 1e9;
    nowMs += 1000;
    await expect(spool.append(recordOf(4, 100))).rejects.toThrow('bytes free');
    await spool.append(recordOf(5, 100));
    disk.onOperation = (one) => (one.kind === 'free' ? diskError('EIO') : undefined);
    nowMs += 1000;
    await spool.append(recordOf(6, 100));
    expect(await drainIds(spool)).toEqual([1, 2, 5, 6]);
  });

  it('of what waits to be written', async () => {
    const { spool, disk, events } = await openSpool();
    const gate = Promise.withResolvers<undefined>();
    disk.onOperation = (one) => (one.kind === 'sync' ? gate.promise : undefined);
    const outcomes = Promise.allSettled(
      Array.from({ length: 40 }, (_, index) => spool.append(recordOf(index + 1, 2000))),
    );
    gate.resolve(undefined);
    const kept = (await outcomes).flatMap((outcome, index) => (outcome.status === 'fulfilled' ? [index + 1] : []));
    expect(kept).toEqual(Array.from({ length: 16 }, (_, index) => index + 1));
    expect(eventsOf(events, 'refused')).toHaveLength(24);
    expect(await drainIds(spool)).toEqual(kept);
  });
});
