import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Circuit, CircuitBreaker, type CircuitChange } from '../../src/lib/circuit-breaker.ts';
import { NotNow } from '../../src/lib/failure.ts';

class Hung extends Error {}
class Refused extends Error {}
class Unsure extends Error {}

/** A breaker on a clock that only the test moves, with what it told. */
function aBreaker(limits: { failuresMax: number; delayMs: number; delayMsMax: number }, chance = 0.5) {
  const clock = { nowMs: 1_000 };
  const changes: CircuitChange[] = [];
  const breaker = new CircuitBreaker({
    ...limits,
    target: 'the other side',
    says: (reason) => (reason instanceof Refused ? 'answered' : reason instanceof Unsure ? 'nothing' : 'failed'),
    isHung: (reason) => reason instanceof Hung,
    onChange: (change) => changes.push(change),
    nowMs: () => clock.nowMs,
    chance: () => chance,
  });
  return { breaker, clock, changes };
}

const THROWN = {
  fails: new Error('no'),
  hangs: new Hung('too long'),
  'answers with an error': new Refused('never'),
  'says nothing': new Unsure('who knows'),
};
type Ending = 'succeeds' | keyof typeof THROWN;
const ENDINGS: readonly Ending[] = ['succeeds', 'fails', 'hangs', 'answers with an error', 'says nothing'];
type Outcome = Ending | 'is not let through';

async function call(breaker: CircuitBreaker, ending: Ending, signal?: AbortSignal): Promise<Outcome> {
  const reason = ending === 'succeeds' ? undefined : THROWN[ending];
  const work = reason === undefined ? () => Promise.resolve() : () => Promise.reject(reason);
  return breaker.run(work, signal).then(
    (): Outcome => 'succeeds',
    (thrown: unknown): Outcome => {
      if (thrown === reason) return ending;
      expect(thrown).toMatchObject({ kind: 'unavailable' });
      return 'is not let through';
    },
  );
}

/** What is expected of a circuit, said in another way: by counting what happened since it was last closed. */
class Model {
  readonly #limits;
  readonly #chance;
  #failuresInARow = 0;
  #openings = 0;
  #probeAtMs = 0;

  constructor(limits: { failuresMax: number; delayMs: number; delayMsMax: number }, chance: number) {
    this.#limits = limits;
    this.#chance = chance;
  }

  call(nowMs: number, outcome: Ending): Outcome {
    if (this.#openings > 0 && nowMs < this.#probeAtMs) return 'is not let through';
    if (outcome === 'says nothing') {
      this.#probeAtMs = nowMs;
      return outcome;
    }
    if (outcome === 'succeeds' || outcome === 'answers with an error') {
      this.#failuresInARow = 0;
      this.#openings = 0;
      return outcome;
    }
    this.#failuresInARow++;
    if (this.#openings > 0 || outcome === 'hangs' || this.#failuresInARow >= this.#limits.failuresMax) {
      const delayMs = Math.min(this.#limits.delayMsMax, this.#limits.delayMs * 2 ** this.#openings);
      this.#openings++;
      this.#probeAtMs = nowMs + delayMs * (1 - this.#chance / 2);
    }
    return outcome;
  }

  get name(): Circuit['name'] {
    return this.#openings > 0 ? 'open' : 'closed';
  }
}

const anyLimits = fc.record({
  failuresMax: fc.integer({ min: 1, max: 5 }),
  delayMs: fc.integer({ min: 1, max: 1_000 }),
  delayMsMax: fc.integer({ min: 1_000, max: 30_000 }),
});
const anySteps = fc.array(
  fc.record({ afterMs: fc.integer({ min: 0, max: 40_000 }), outcome: fc.constantFrom(...ENDINGS) }),
  { maxLength: 60 },
);

describe('CircuitBreaker', () => {
  it('lets through what its model lets through, whatever comes', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyLimits,
        fc.double({ min: 0, max: 1, noNaN: true }),
        anySteps,
        async (limits, chance, steps) => {
          const { breaker, clock } = aBreaker(limits, chance);
          const model = new Model(limits, chance);
          for (const { afterMs, outcome } of steps) {
            clock.nowMs += afterMs;
            const waitMs = breaker.waitMs;
            const expected = model.call(clock.nowMs, outcome);
            expect(await call(breaker, outcome)).toBe(expected);
            expect(waitMs > 0).toBe(expected === 'is not let through');
            expect(breaker.circuit.name).toBe(model.name);
            expect(breaker.waitMs).toBeLessThanOrEqual(limits.delayMsMax);
          }
        },
      ),
    );
  });

  it('tells each change, with how long the other side was away', async () => {
    const { breaker, clock, changes } = aBreaker({ failuresMax: 2, delayMs: 100, delayMsMax: 1_000 });
    await call(breaker, 'fails');
    expect(changes).toEqual([]);
    await call(breaker, 'fails');
    clock.nowMs += 75;
    await call(breaker, 'fails');
    clock.nowMs += 150;
    await call(breaker, 'succeeds');
    expect(changes.map(({ circuit, awayMs }) => [circuit.name, awayMs])).toEqual([
      ['open', 0],
      ['half-open', 75],
      ['open', 75],
      ['half-open', 225],
      ['closed', 225],
    ]);
    expect(breaker.awayMs).toBe(0);
  });

  it('learns nothing from a call whose caller has gone, and tries with the next', async () => {
    const { breaker, clock } = aBreaker({ failuresMax: 1, delayMs: 100, delayMsMax: 100 });
    await call(breaker, 'fails', AbortSignal.abort());
    expect(breaker.circuit.name).toBe('closed');
    await call(breaker, 'fails');
    clock.nowMs += 100;
    await call(breaker, 'fails', AbortSignal.abort());
    expect(breaker.waitMs).toBe(0);
    expect(await call(breaker, 'succeeds')).toBe('succeeds');
    expect(breaker.circuit.name).toBe('closed');
  });

  it('lets one call through at a time while half-open', async () => {
    const { breaker, clock } = aBreaker({ failuresMax: 1, delayMs: 100, delayMsMax: 100 });
    await call(breaker, 'fails');
    clock.nowMs += 100;
    const probe = Promise.withResolvers<string>();
    const probing = breaker.run(() => probe.promise);
    expect(breaker.circuit.name).toBe('half-open');
    await expect(breaker.run(() => Promise.resolve())).rejects.toThrow(NotNow);
    probe.resolve('back');
    expect(await probing).toBe('back');
    expect(breaker.circuit.name).toBe('closed');
  });

  it('is not moved by a call that was let through before it opened', async () => {
    const { breaker, clock } = aBreaker({ failuresMax: 1, delayMs: 100, delayMsMax: 100 });
    const early = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const running = early.map(({ promise }) => breaker.run(() => promise));
    await call(breaker, 'fails');
    const opened = breaker.circuit;
    early[0]?.reject(new Error('no'));
    await expect(running[0]).rejects.toThrow('no');
    expect(breaker.circuit).toBe(opened);
    clock.nowMs += 100;
    const probe = Promise.withResolvers<void>();
    const probing = breaker.run(() => probe.promise);
    early[1]?.resolve();
    await running[1];
    expect(breaker.circuit.name).toBe('half-open');
    probe.resolve();
    await probing;
  });
});
