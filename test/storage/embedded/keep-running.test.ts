import { describe, expect, it } from 'vitest';
import type { EmbeddedEngine } from '../../../src/storage/embedded/engine-process.ts';
import { keepRunning } from '../../../src/storage/embedded/keep-running.ts';

/** Engines that leave when the test says so, with what became of them. */
class Engines {
  readonly urls: (string | undefined)[] = [];
  readonly left: string[] = [];
  stops = 0;
  /** Which starts fail, by their number from 0. */
  readonly failing = new Set<number>();
  #leave: (why: string) => void = () => undefined;
  #started = Promise.withResolvers<void>();

  readonly start = async (url: string | undefined): Promise<EmbeddedEngine> => {
    this.urls.push(url);
    if (this.failing.has(this.urls.length - 1)) throw new Error(`start ${this.urls.length - 1} failed`);
    const { promise: exited, resolve } = Promise.withResolvers<string>();
    this.#leave = resolve;
    this.#started.resolve();
    const stop = async (): Promise<void> => {
      this.stops++;
      resolve('stopped');
    };
    return { url: `engine://${this.urls.length}`, exited, stop };
  };

  readonly onLeft = (why: string): void => void this.left.push(why);

  leave(why: string): void {
    this.#started = Promise.withResolvers();
    this.#leave(why);
  }

  /** Resolves once an engine stands again that has left. */
  async again(): Promise<void> {
    await this.#started.promise;
    await new Promise(setImmediate);
  }
}

describe('keepRunning', () => {
  it('starts an engine again under the URL that it had first', async () => {
    const engines = new Engines();
    const kept = await keepRunning(engines);
    expect(kept.url).toBe('engine://1');
    engines.leave('killed');
    await engines.again();
    expect(engines.urls).toEqual([undefined, 'engine://1']);
    expect(engines.left).toEqual(['killed']);
    await kept.stop();
    await kept.stop();
    expect(await kept.exited).toBe('stopped');
    expect(engines.urls).toHaveLength(2);
  });

  it('gives up an engine that leaves again and again, a failed start included, and says why', async () => {
    const engines = new Engines();
    engines.failing.add(2);
    const kept = await keepRunning(engines);
    for (const why of ['first', 'second', 'third']) {
      engines.leave(why);
      await engines.again();
    }
    engines.leave('fourth');
    expect(await kept.exited).toBe('fourth\nIt left 5 times in a row, and is given up');
    expect(engines.left).toEqual(['first', 'second', 'start 2 failed', 'third']);
    expect(engines.urls).toHaveLength(5);
  });

  it('forgets earlier departures of an engine that stood for long enough', async () => {
    const engines = new Engines();
    const kept = await keepRunning({ start: engines.start, onLeft: engines.onLeft, steadyMs: 0 });
    for (let i = 0; i < 6; i++) {
      engines.leave(`departure ${i}`);
      await engines.again();
    }
    expect(engines.left).toHaveLength(6);
    await kept.stop();
  });

  it('stops an engine that is just being started again, and one that is about to be', async () => {
    const starting = new Engines();
    const held = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const kept = await keepRunning({
      onLeft: starting.onLeft,
      start: async (url) => {
        if (url === undefined) return starting.start(url);
        asked.resolve();
        await held.promise;
        return starting.start(url);
      },
    });
    starting.leave('killed');
    await asked.promise;
    const stopped = kept.stop();
    held.resolve();
    await stopped;
    expect([starting.stops, await kept.exited]).toEqual([1, 'stopped']);

    const waiting = new Engines();
    const told = Promise.withResolvers<void>();
    const other = await keepRunning({ start: waiting.start, onLeft: () => told.resolve() });
    waiting.leave('killed');
    await told.promise;
    await other.stop();
    expect([waiting.urls.length, await other.exited]).toEqual([1, 'killed']);
  });

  it('fails where the first start does', async () => {
    const engines = new Engines();
    engines.failing.add(0);
    await expect(keepRunning(engines)).rejects.toThrow('start 0 failed');
    expect(engines.left).toEqual([]);
  });
});
