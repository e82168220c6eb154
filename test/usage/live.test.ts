import { describe, expect, it } from 'vitest';
import { LiveHub, type LiveHubOptions, type LiveUpdate } from '../../src/usage/live.ts';
import { MINUTE, report, type Report } from './stored.ts';

/** Time that stands still until a test moves it; `sleep` is what the hub waits with. */
class TestTime {
  ms = 0;
  readonly #waiting = new Set<{ readonly at: number; readonly wake: () => void }>();

  readonly sleep = (delayMs: number, wake: AbortSignal) =>
    new Promise<void>((resolve) => {
      if (wake.aborted) return resolve();
      const waiter = { at: this.ms + delayMs, wake: resolve };
      this.#waiting.add(waiter);
      wake.addEventListener('abort', () => {
        this.#waiting.delete(waiter);
        resolve();
      });
    });

  /** Moves on step by step, letting everything that is due run. */
  async pass(ms: number): Promise<void> {
    const end = this.ms + ms;
    for (;;) {
      await settle();
      const next = [...this.#waiting].toSorted((a, b) => a.at - b.at)[0];
      if (!next || next.at > end) break;
      this.ms = Math.max(this.ms, next.at);
      this.#waiting.delete(next);
      next.wake();
    }
    this.ms = end;
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

function start(options: Partial<LiveHubOptions> = {}) {
  const time = new TestTime();
  const clock = { nowMs: () => time.ms, nowNanos: () => BigInt(time.ms) * 1_000_000n };
  return { time, hub: new LiveHub({ clock, sleep: time.sleep, ...options }) };
}

interface Reader {
  readonly updates: LiveUpdate[];
  readonly ended: Promise<unknown>;
  readonly stop: () => void;
}

function read(hub: LiveHub, changes: { regions?: string[]; resumeToken?: string; customerId?: string } = {}): Reader {
  const updates: LiveUpdate[] = [];
  const stopped = new AbortController();
  const stream = hub.subscribe({
    customerId: 'acme',
    regions: [],
    resumeToken: '',
    signal: stopped.signal,
    ...changes,
  });
  const ended = (async () => {
    for await (const update of stream) updates.push(update);
    return 'done';
  })().catch((reason: unknown) => reason);
  return { updates, ended, stop: () => stopped.abort() };
}

function minute(at: number, changes: Partial<Report> = {}): Report {
  return report('acme', at, changes);
}

function windowsIn(updates: readonly LiveUpdate[]): bigint {
  return updates.flatMap((update) => update.usage).reduce((sum, usage) => sum + usage.quantities.windows, 0n);
}

describe('LiveHub', () => {
  it('sends a first update at once, then what was accepted, summed by VM and region', async () => {
    const { time, hub } = start();
    const reader = read(hub);
    await time.pass(0);
    expect(reader.updates).toMatchObject([{ customerId: 'acme', usage: [], sentAtMs: 0, reset: false }]);
    hub.publish([minute(0), minute(1), minute(5, { region: 'us' })]);
    hub.publish([minute(2), report('other', 3)]);
    await time.pass(200);
    expect(reader.updates).toHaveLength(2);
    expect(reader.updates[1]?.usage).toMatchObject([
      { vmId: 'vm-1', region: 'eu', startNanos: minute(0).startNanos, endNanos: minute(2).endNanos },
      { vmId: 'vm-1', region: 'us' },
    ]);
    expect(reader.updates[1]?.usage[0]?.quantities).toMatchObject({
      cpuTimeNanos: 3n,
      networkTxBytes: 24n,
      observedNanos: 3n * MINUTE,
      windows: 3n,
    });
  });

  it('sends at most one update in 200 ms, with everything since the last', async () => {
    const { time, hub } = start();
    const reader = read(hub);
    for (let step = 0; step < 100; step++) {
      hub.publish([minute(step)]);
      await time.pass(10);
    }
    expect(reader.updates).toHaveLength(6);
    await time.pass(200);
    expect(windowsIn(reader.updates)).toBe(100n);
  });

  it('sends what comes after a quiet time without waiting', async () => {
    const { time, hub } = start();
    const reader = read(hub);
    await time.pass(5_000);
    hub.publish([minute(0)]);
    await time.pass(0);
    expect(reader.updates.at(-1)).toMatchObject({ sentAtMs: 5_000, usage: [{ vmId: 'vm-1' }] });
  });

  it('says that it is alive every 15 seconds', async () => {
    const { time, hub } = start();
    const reader = read(hub);
    await time.pass(45_000);
    expect(reader.updates.map((update) => update.sentAtMs)).toEqual([0, 15_000, 30_000, 45_000]);
    expect(windowsIn(reader.updates)).toBe(0n);
  });

  it('filters by region', async () => {
    const { time, hub } = start();
    const reader = read(hub, { regions: ['us'] });
    hub.publish([minute(0), minute(1, { region: 'us' })]);
    await time.pass(200);
    expect(reader.updates.flatMap((update) => update.usage)).toMatchObject([{ region: 'us' }]);
  });

  it('goes on right behind a resume token', async () => {
    const { time, hub } = start();
    const first = read(hub);
    hub.publish([minute(0)]);
    await time.pass(200);
    first.stop();
    await expect(first.ended).resolves.toBe('done');
    hub.publish([minute(1), report('other', 1)]);
    hub.publish([minute(2)]);
    const second = read(hub, { resumeToken: first.updates.at(-1)?.resumeToken ?? '' });
    hub.publish([minute(3)]);
    await time.pass(200);
    expect(second.updates[0]).toMatchObject({ reset: false });
    expect(windowsIn(first.updates)).toBe(1n);
    expect(windowsIn(second.updates)).toBe(3n);
  });

  it('says reset where the token is too old, of another process, or never given out', async () => {
    const bounds = { ring: { batchesMax: 2, windowsMax: 100 } };
    const { time, hub } = start(bounds);
    const reader = read(hub);
    await time.pass(0);
    const token = reader.updates[0]?.resumeToken ?? '';
    hub.publish([minute(0)]);
    hub.publish([minute(1)]);
    const inTime = read(hub, { resumeToken: token });
    hub.publish([minute(2)]);
    const tooLate = read(hub, { resumeToken: token });
    const other = read(start(bounds).hub, { resumeToken: token });
    const ahead = read(hub, { resumeToken: token.replace(/\d+$/, '99') });
    await time.pass(200);
    await settle();
    expect(inTime.updates[0]?.reset).toBe(false);
    for (const each of [tooLate, other, ahead]) expect(each.updates[0]?.reset).toBe(true);
    expect(tooLate.updates[1]?.reset ?? false).toBe(false);
    expect(() => read(hub, { resumeToken: 'x' })).toThrow('resume_token "x"');
  });

  it('keeps a bounded number of windows for those who come back', async () => {
    const { time, hub } = start({ ring: { batchesMax: 100, windowsMax: 3 } });
    const reader = read(hub);
    await time.pass(0);
    const token = reader.updates[0]?.resumeToken ?? '';
    hub.publish([minute(0), minute(1)]);
    hub.publish([minute(2)]);
    const kept = read(hub, { resumeToken: token });
    hub.publish([minute(3)]);
    const gone = read(hub, { resumeToken: token });
    hub.publish([minute(4), minute(5), minute(6), minute(7)]);
    await time.pass(0);
    expect([kept.updates[0]?.reset, gone.updates[0]?.reset]).toEqual([false, true]);
  });

  it('ends a reader for whom too many VMs wait, and says how to go on', async () => {
    const { time, hub } = start({ entriesMax: 2 });
    const reader = read(hub);
    await time.pass(0);
    for (let count = 0; count < 1_000; count++) hub.publish([minute(count), minute(count, { vmId: 'vm-2' })]);
    await time.pass(200);
    expect(reader.updates[1]?.usage).toHaveLength(2);
    hub.publish(['vm-1', 'vm-2', 'vm-3'].map((vmId) => minute(0, { vmId })));
    await time.pass(200);
    const reason = await reader.ended;
    expect(reason).toMatchObject({ name: 'NotNow', kind: 'resource_exhausted' });
    expect(String(reason)).toContain(reader.updates.at(-1)?.resumeToken);
    expect(hub.subscriberCount).toBe(0);
  });

  it('bounds subscribers, and forgets one that ends, started or not', async () => {
    const { time, hub } = start({ subscribersMax: 2 });
    const reader = read(hub);
    const ends = new AbortController();
    hub.subscribe({ customerId: 'acme', regions: [], resumeToken: '', signal: ends.signal });
    expect(() => read(hub)).toThrow('2 live streams');
    ends.abort();
    reader.stop();
    await time.pass(0);
    await expect(reader.ended).resolves.toBe('done');
    expect(hub.subscriberCount).toBe(0);
    const ended = read(hub);
    expect(hub.subscriberCount).toBe(1);
    ended.stop();
  });

  it('does not walk a batch while nobody listens', () => {
    const { hub } = start();
    const batch = {
      length: 600,
      [Symbol.iterator]: (): Iterator<Report> => {
        throw new Error('walked');
      },
    };
    expect(() => hub.publish(batch)).not.toThrow();
  });
});
