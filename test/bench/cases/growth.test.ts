import { expect, it } from 'vitest';
import { growthPoints } from '../../../bench/cases/growth.ts';

it('grows one thing at a time, up to what is asked for', () => {
  expect(growthPoints(1_000_000, 50_000_000)).toEqual([
    { vms: 1000, storedBefore: 0 },
    { vms: 10_000, storedBefore: 0 },
    { vms: 100_000, storedBefore: 0 },
    { vms: 1_000_000, storedBefore: 0 },
    { vms: 10_000, storedBefore: 10_000_000 },
    { vms: 10_000, storedBefore: 50_000_000 },
  ]);
  expect(growthPoints(5000, 100)).toEqual([
    { vms: 1000, storedBefore: 0 },
    { vms: 1000, storedBefore: 20 },
    { vms: 1000, storedBefore: 100 },
  ]);
});

it('has a point to hold the others against however few are asked for', () => {
  expect(growthPoints(10, 5)).toEqual([
    { vms: 1000, storedBefore: 0 },
    { vms: 1000, storedBefore: 1 },
    { vms: 1000, storedBefore: 5 },
  ]);
});
