import { describe, expect, it } from 'vitest';
import { readTogether, rectangles } from '../../src/usage/touched-groups.ts';
import type { TouchedHour } from '../../src/usage/touched-hours.ts';

const pair = (customerId: string, hour: number) => ({ customerId, hour });

describe('rectangles', () => {
  it('hold each pair once and no other', () => {
    const touched = [pair('a', 1), pair('a', 2), pair('a', 3), pair('b', 1), pair('b', 2), pair('c', 9)];
    const found = rectangles(touched);
    expect(found.flat().toSorted(byPair)).toEqual(touched);
    for (const pairs of found) {
      const customers = new Set(pairs.map((each) => each.customerId));
      const hours = new Set(pairs.map((each) => each.hour));
      expect(pairs).toHaveLength(customers.size * hours.size);
    }
    expect(found).toHaveLength(3);
  });
});

describe('readTogether', () => {
  it('has each pair once, and nobody with whoever was touched on other days', () => {
    const touched = [
      pair('a', 1),
      pair('a', 50),
      pair('b', 49),
      pair('c', 2),
      pair('c', 51),
      pair('d', 48),
      pair('e', 3),
    ];
    const found = readTogether(touched.map((each) => pair(each.customerId, each.hour * 3600)));
    expect(
      found
        .flat()
        .map((each) => pair(each.customerId, each.hour / 3600))
        .toSorted(byPair),
    ).toEqual(touched);
    expect(found.map((pairs) => [...new Set(pairs.map((each) => each.customerId))].join(''))).toEqual([
      'ac',
      'bd',
      'e',
    ]);
  });
});

function byPair(a: TouchedHour, b: TouchedHour): number {
  return a.customerId < b.customerId ? -1 : a.customerId > b.customerId ? 1 : a.hour - b.hour;
}
