import { describe, expect, it } from 'vitest';
import { checkInstant, parsePeriod } from '../../src/billing/period.ts';

describe('a period', () => {
  it.each([
    ['2026-09', '2026-09-01T00:00:00.000Z', '2026-10-01T00:00:00.000Z', 30],
    ['2026-12', '2026-12-01T00:00:00.000Z', '2027-01-01T00:00:00.000Z', 31],
    ['2026-02', '2026-02-01T00:00:00.000Z', '2026-03-01T00:00:00.000Z', 28],
    ['2028-02', '2028-02-01T00:00:00.000Z', '2028-03-01T00:00:00.000Z', 29],
  ])('%s is the month in UTC', (name, start, end, days) => {
    const period = parsePeriod(name);
    expect([period.start.toISOString(), period.end.toISOString()]).toEqual([start, end]);
    expect(period.end.getTime() - period.start.getTime()).toBe(days * 86_400_000);
  });

  it.each(['', '2026', '2026-9', '2026-13', '2026-00', '1999-12', '3000-01', '2026-09-01', ' 2026-09'])(
    'refuses %j',
    (name) => {
      expect(() => parsePeriod(name)).toThrow(`period: ${JSON.stringify(name)} is no month`);
    },
  );
});

describe('an instant', () => {
  it.each(['1999-12-31T23:59:59.999Z', '0001-01-01T00:00:00.000Z', '3000-01-01T00:00:00.000Z'])(
    '%s is refused',
    (instant) => {
      expect(() => checkInstant('valid_from', new Date(instant))).toThrow(`valid_from: ${instant} is not from 2000`);
    },
  );

  it('of our days is taken', () => {
    expect(() => checkInstant('valid_from', new Date('2000-01-01T00:00:00Z'))).not.toThrow();
    expect(() => checkInstant('valid_from', new Date('2999-12-31T23:59:59Z'))).not.toThrow();
  });
});
