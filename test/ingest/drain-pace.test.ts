import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DRAIN_SIZES, DrainPace } from '../../src/ingest/drain-pace.ts';

const MIB = 1024 * 1024;
const anyBytes = fc.nat({ max: 100 * MIB });
const anyHistory = fc.array(fc.constantFrom('stored', 'tooMuch', 'tooOften'), { maxLength: 200 });

function after(history: readonly ('stored' | 'tooMuch' | 'tooOften')[]): DrainPace {
  const pace = new DrainPace(DRAIN_SIZES);
  for (const step of history) pace[step]();
  return pace;
}

describe('DrainPace', () => {
  it('stays within its bounds, whatever ClickHouse says', () => {
    fc.assert(
      fc.property(anyHistory, anyBytes, anyBytes, (history, storedBytes, waitingBytes) => {
        const pace = after(history);
        expect(pace.insertBytes).toBeGreaterThanOrEqual(DRAIN_SIZES.insertBytesMin);
        expect(pace.insertBytes).toBeLessThanOrEqual(DRAIN_SIZES.insertBytesMax);
        expect(pace.pauseMs(storedBytes, waitingBytes)).toBeLessThanOrEqual(DRAIN_SIZES.pauseMsMax);
      }),
    );
  });

  it('sends at most half after each "too much"; and no smaller inserts after "too often"', () => {
    fc.assert(
      fc.property(anyHistory, (history) => {
        const before = after(history).insertBytes;
        const smaller = after([...history, 'tooMuch']).insertBytes;
        expect(smaller).toBe(Math.max(DRAIN_SIZES.insertBytesMin, Math.floor(before / 2)));
        expect(after([...history, 'tooOften']).insertBytes).toBe(before);
      }),
    );
  });

  it('pauses longer after each "too often", also where a full insert waits', () => {
    const pauses = [1, 2, 3, 4, 5, 6, 7].map((times) => {
      return after(Array.from({ length: times }, () => 'tooOften' as const)).pauseMs(0, 100 * MIB);
    });
    expect(pauses).toEqual([200, 400, 800, 1600, 3200, 5000, 5000]);
  });

  it('is back at full size and without a pause after a while of good batches', () => {
    fc.assert(
      fc.property(anyHistory, (history) => {
        const pace = after([...history, ...Array.from({ length: 20 }, () => 'stored' as const)]);
        expect(pace.insertBytes).toBe(DRAIN_SIZES.insertBytesMax);
        expect(pace.pauseMs(0, DRAIN_SIZES.insertBytesMax)).toBe(0);
        expect(pace.pauseMs(0, DRAIN_SIZES.insertBytesMax - 1)).toBe(DRAIN_SIZES.ageMsMin);
      }),
    );
  });

  it('waits the longer the more came in, so that much makes few inserts', () => {
    const pauses = [0, 4 * MIB, 8 * MIB, 16 * MIB, 64 * MIB].map((bytes) => after([]).pauseMs(bytes, 0));
    expect(pauses).toEqual([100, 100, 200, 400, 1_000]);
  });

  it('knows how long draining takes from what it took of late', () => {
    const pace = new DrainPace(DRAIN_SIZES);
    expect(pace.durationMs(1)).toBeUndefined();
    for (let i = 0; i < 100; i++) pace.rate(20 * MIB, 200);
    expect(pace.durationMs(100 * MIB)).toBeCloseTo(1_000);
    // Ten seconds at a tenth of the speed: two half-lives, so three quarters of what it goes by are new.
    for (let i = 0; i < 5; i++) pace.rate(20 * MIB, 2_000);
    const slowerMs = pace.durationMs(100 * MIB) ?? 0;
    expect(slowerMs).toBeGreaterThan(2_500);
    expect(slowerMs).toBeLessThan(10_000);
  });
});
