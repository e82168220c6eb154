import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Calendar,
  daysAfter,
  parseTimeZone,
  periodAfter,
  periodAt,
  periodNamed,
} from '../../src/billing/calendar.ts';

function calendar(timeZone: string, anchorDay = 1): Calendar {
  return { timeZone, anchorDay };
}

describe('a billing period', () => {
  it.each([
    ['UTC', 1, '2026-09', '2026-09-01T00:00:00Z', '2026-10-01T00:00:00Z', 2_592_000],
    ['UTC', 1, '2026-02', '2026-02-01T00:00:00Z', '2026-03-01T00:00:00Z', 2_419_200],
    ['UTC', 1, '2028-02', '2028-02-01T00:00:00Z', '2028-03-01T00:00:00Z', 2_505_600],
    ['UTC', 1, '2026-12', '2026-12-01T00:00:00Z', '2027-01-01T00:00:00Z', 2_678_400],
    // Anchors that short months do not have.
    ['UTC', 31, '2026-01', '2026-01-31T00:00:00Z', '2026-02-28T00:00:00Z', 2_419_200],
    ['UTC', 31, '2026-02', '2026-02-28T00:00:00Z', '2026-03-31T00:00:00Z', 2_678_400],
    ['UTC', 30, '2028-02', '2028-02-29T00:00:00Z', '2028-03-30T00:00:00Z', 2_592_000],
    ['UTC', 29, '2027-02', '2027-02-28T00:00:00Z', '2027-03-29T00:00:00Z', 2_505_600],
    // Clocks that are set forward and back.
    ['Europe/Berlin', 1, '2026-03', '2026-02-28T23:00:00Z', '2026-03-31T22:00:00Z', 2_674_800],
    ['Europe/Berlin', 1, '2026-10', '2026-09-30T22:00:00Z', '2026-10-31T23:00:00Z', 2_682_000],
    ['America/New_York', 1, '2026-03', '2026-03-01T05:00:00Z', '2026-04-01T04:00:00Z', 2_674_800],
    ['America/New_York', 1, '2026-11', '2026-11-01T04:00:00Z', '2026-12-01T05:00:00Z', 2_595_600],
    ['Australia/Lord_Howe', 1, '2026-10', '2026-09-30T13:30:00Z', '2026-10-31T13:00:00Z', 2_676_600],
    ['Asia/Kathmandu', 1, '2026-09', '2026-08-31T18:15:00Z', '2026-09-30T18:15:00Z', 2_592_000],
    // A midnight that is skipped: the first instant behind the gap, which is one o'clock.
    ['America/Sao_Paulo', 4, '2018-11', '2018-11-04T03:00:00Z', '2018-12-04T02:00:00Z', 2_588_400],
    // A day that is skipped.
    ['Pacific/Apia', 30, '2011-12', '2011-12-30T10:00:00Z', '2012-01-29T10:00:00Z', 2_592_000],
    // A midnight that comes twice: the first.
    ['America/St_Johns', 1, '2009-11', '2009-11-01T02:30:00Z', '2009-12-01T03:30:00Z', 2_595_600],
  ])('of %s from day %i, %s, is %s to %s', (timeZone, anchorDay, name, start, end, seconds) => {
    const period = periodNamed(name, calendar(timeZone, anchorDay));
    expect(period).toEqual({ name, start: new Date(start), end: new Date(end) });
    expect((period.end.getTime() - period.start.getTime()) / 1000).toBe(seconds);
  });

  it('that a clock set back over midnight has begun goes on', () => {
    // 00:01 on 1 November became 23:01 on 31 October again.
    const again = new Date('2009-11-01T02:45:00Z');
    expect(periodAt(again, calendar('America/St_Johns')).name).toBe('2009-11');
  });

  it('holds every instant from its start to before its end, with the next one behind it', () => {
    const zones = Intl.supportedValuesOf('timeZone');
    const years = fc.integer({ min: 2000, max: 2060 });
    fc.assert(
      fc.property(fc.constantFrom(...zones), fc.integer({ min: 1, max: 31 }), years, (zone, anchorDay, year) => {
        const ours = calendar(zone, anchorDay);
        let period = periodNamed(`${year}-01`, ours);
        for (let month = 1; month <= 12; month++) {
          expect(period.name).toBe(`${year}-${String(month).padStart(2, '0')}`);
          expect(periodAt(period.start, ours)).toEqual(period);
          expect(periodAt(new Date(period.end.getTime() - 1), ours)).toEqual(period);
          expect(period.start < period.end).toBe(true);
          expect(period.start.getTime() % 1000).toBe(0);
          const next = periodAfter(period, ours);
          expect(next.start).toEqual(period.end);
          expect(periodAt(period.end, ours)).toEqual(next);
          period = next;
        }
      }),
      { numRuns: 300 },
    );
  });

  it('starts at midnight of its anchor, in every zone', () => {
    for (const timeZone of Intl.supportedValuesOf('timeZone')) {
      for (const [name, anchorDay, day] of [
        ['2026-02', 30, '2/28/2026'],
        ['2026-07', 15, '7/15/2026'],
      ] as const) {
        const { start } = periodNamed(name, calendar(timeZone, anchorDay));
        expect(start.toLocaleDateString('en-US', { timeZone })).toBe(day);
        const before = new Date(start.getTime() - 1);
        expect(before.toLocaleDateString('en-US', { timeZone })).not.toBe(day);
      }
    }
  });

  it.each(['', '2026-13', '1999-12', '2026-09-01'])('refuses the name %j', (name) => {
    expect(() => periodNamed(name, calendar('UTC'))).toThrow(`period: ${JSON.stringify(name)} is no month`);
  });
});

describe('some days after an instant', () => {
  it.each([
    ['UTC', '2026-10-02T01:02:03Z', 30, '2026-11-01T01:02:03Z'],
    ['UTC', '2028-02-28T12:00:00Z', 2, '2028-03-01T12:00:00Z'],
    // Half past midnight of 1 and of 31 October, before and after clocks are set back.
    ['Europe/Berlin', '2026-09-30T22:30:00Z', 30, '2026-10-30T23:30:00Z'],
    ['Europe/Berlin', '2026-03-01T22:30:00Z', 30, '2026-03-31T21:30:00Z'],
    ['Europe/Berlin', '2026-09-30T22:30:00Z', 0, '2026-09-30T22:30:00Z'],
  ])('in %s, of %s and %i, it is the same time of day: %s', (timeZone, instant, days, after) => {
    expect(daysAfter(new Date(instant), days, timeZone)).toEqual(new Date(after));
  });
});

describe('a time zone', () => {
  it.each([
    ['Europe/Berlin', 'Europe/Berlin'],
    ['europe/berlin', 'Europe/Berlin'],
    ['Asia/Kolkata', 'Asia/Kolkata'],
    ['utc', 'UTC'],
  ])('%s is %s', (value, zone) => {
    expect(parseTimeZone('time_zone', value)).toBe(zone);
  });

  it.each(['', '+01:00', '-08', 'Z', 'Mars/Olympus', 'Europe/Berlin ', 'x'.repeat(1000)])('%j is none', (value) => {
    expect(() => parseTimeZone('time_zone', value)).toThrow('is no time zone of IANA');
  });
});
