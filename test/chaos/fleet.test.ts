import { describe, expect, it } from 'vitest';
import { Fleet } from '../../chaos/fleet.ts';

const NOW_MS = Date.UTC(2026, 5, 10, 12, 34, 56);
const fleet = new Fleet({ name: 'f', seed: 7, windowsPerBatch: 5 }, NOW_MS);
const PLACES = [0, 1, 59, 60, 61, 60 * 33 * 24, 60 * 33 * 24 + 7].flatMap((batch) => [
  { batch, index: 0 },
  { batch, index: 4 },
]);

describe('a fleet', () => {
  it('has a window of its own at each place, and finds the place again', () => {
    const windows = PLACES.map((place) => fleet.window(place));
    expect(windows.map(({ vmId, startMs }) => fleet.placeOf(vmId, startMs))).toEqual(PLACES);
    expect(new Set(windows.map(({ quantities }) => quantities.join())).size).toBe(PLACES.length);
    expect(windows.every(({ startMs }) => startMs >= fleet.firstMs && startMs < fleet.endMs)).toBe(true);
    expect(fleet.endMs).toBeLessThan(NOW_MS);
  });

  it('knows no window of another one, of another time, or beyond a batch', () => {
    const { vmId, startMs } = fleet.window({ batch: 61, index: 2 });
    expect(fleet.placeOf(vmId.replace('f', 'g'), startMs)).toBe(undefined);
    expect(fleet.placeOf(vmId, startMs + 1)).toBe(undefined);
    expect(fleet.placeOf(vmId, startMs + 3_600_000)).toBe(undefined);
    expect(fleet.placeOf('f-1-5', startMs)).toBe(undefined);
    expect(fleet.placeOf('f', startMs)).toBe(undefined);
  });

  it('sends the same bytes each time', () => {
    expect(fleet.request(61)).toEqual(new Fleet(fleet.options, NOW_MS).request(61));
    expect(fleet.request(61)).not.toEqual(new Fleet({ ...fleet.options, seed: 8 }, NOW_MS).request(61));
  });
});
