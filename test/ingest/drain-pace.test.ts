import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DRAIN_SIZES, DrainPace } from '../../src/ingest/drain-pace.ts';

const MIB = 1024 * 1024;
const anyHistory = fc.array(fc.constantFrom('stored', 'tooMuch', 'tooOften'), { maxLength: 200 });

function after(history: readonly ('stored' | 'tooMuch' | 'tooOften')[]): DrainPace {
  const pace = new DrainPace(DRAIN_SIZES);
  for (const step of history) pace[step]();
  return pace;
}

describe('DrainPace', () => {
  it('stays within its bounds, whatever ClickHouse says', () => {
    fc.assert(
      fc.property(anyHistory, fc.nat({ max: 100 * MIB }), (history, waitingBytes) => {
        const pace = after(history);
        expect(pace.blockBytes).toBeGreaterThanOrEqual(DRAIN_SIZES.blockBytesMin);
        expect(pace.readBytesMax).toBeLessThanOrEqual(DRAIN_SIZES.blocksMax * DRAIN_SIZES.blockBytesMax);
        expect(pace.readBytesMax).toBeGreaterThanOrEqual(pace.blockBytes);
        expect(pace.pauseMs(waitingBytes)).toBeLessThanOrEqual(DRAIN_SIZES.pauseMsMax);
      }),
    );
  });

  it('sends at most half, and one insert at a time, after each "too much"; and no smaller inserts after "too often"', () => {
    fc.assert(
      fc.property(anyHistory, (history) => {
        const before = after(history).blockBytes;
        const smaller = after([...history, 'tooMuch']);
        expect(smaller.blockBytes).toBe(Math.max(DRAIN_SIZES.blockBytesMin, Math.floor(before / 2)));
        expect(smaller.readBytesMax).toBe(smaller.blockBytes);
        expect(after([...history, 'tooOften']).blockBytes).toBe(before);
      }),
    );
  });

  it('pauses longer after each "too often", also where a full block waits', () => {
    const pauses = [1, 2, 3, 4, 5, 6, 7].map((times) => {
      return after(Array.from({ length: times }, () => 'tooOften' as const)).pauseMs(100 * MIB);
    });
    expect(pauses).toEqual([200, 400, 800, 1600, 3200, 5000, 5000]);
  });

  it('is back at full size and without a pause after a while of good batches', () => {
    fc.assert(
      fc.property(anyHistory, (history) => {
        const pace = after([...history, ...Array.from({ length: 20 }, () => 'stored' as const)]);
        expect(pace.readBytesMax).toBe(DRAIN_SIZES.blocksMax * DRAIN_SIZES.blockBytesMax);
        expect(pace.pauseMs(DRAIN_SIZES.blockBytesMax)).toBe(0);
        expect(pace.pauseMs(DRAIN_SIZES.blockBytesMax - 1)).toBe(DRAIN_SIZES.ageMsMax);
      }),
    );
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
