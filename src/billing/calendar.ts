import { LRUCache } from 'lru-cache';
import { Temporal } from 'temporal-polyfill';
import { CallerFault } from '../lib/failure.ts';
import type { BillingPeriod } from './invoice/invoice-input.ts';
import { parsePeriod } from './period.ts';

/** When a customer's billing periods start. */
export interface Calendar {
  /** IANA, as `parseTimeZone` gives it. */
  readonly timeZone: string;
  /** 1 to 31. A month without that day starts on its last. */
  readonly anchorDay: number;
}

/** Months are counted from the year 0. */
const YEAR_MONTHS = 12;
/** A few hundred zones with the months of a year or two each: what one run over many customers needs. */
const PERIODS_KEPT_MAX = 20_000;
const ZONE_LENGTH_MAX = 100;

const periods = new LRUCache<string, BillingPeriod>({ max: PERIODS_KEPT_MAX });
const lastDays = new LRUCache<string, string>({ max: PERIODS_KEPT_MAX });

/** The period that the instant lies in. */
export function periodAt(instant: Date, calendar: Calendar): BillingPeriod {
  // A period's start is at most a day and a month away from that of its month in UTC. It is looked for among the periods
  // themselves: where a clock is set back over midnight, the local date alone would say the wrong month.
  let month = instant.getUTCFullYear() * YEAR_MONTHS + instant.getUTCMonth() + 1;
  let period = periodOf(month, calendar);
  while (period.start > instant) period = periodOf(--month, calendar);
  return period;
}

/** The period that starts in this local month, e.g. "2026-09". @throws CallerFault as `parsePeriod` */
export function periodNamed(name: string, calendar: Calendar): BillingPeriod {
  parsePeriod(name);
  return periodOf(monthOf(name), calendar);
}

export function periodAfter({ name }: Pick<BillingPeriod, 'name'>, calendar: Calendar): BillingPeriod {
  return periodOf(monthOf(name) + 1, calendar);
}

/**
 * The local day of the period's last instant, e.g. "2026-09-30".
 * @param until an instant that the day is not after, where it lies in the period
 */
export function lastDayOf(period: Pick<BillingPeriod, 'end'>, timeZone: string, until?: Date): string {
  const lastMs = Math.min(period.end.getTime() - 1, until?.getTime() ?? Number.POSITIVE_INFINITY);
  const key = `${lastMs} ${timeZone}`;
  const known = lastDays.get(key);
  if (known !== undefined) return known;
  const day = Temporal.Instant.fromEpochMilliseconds(lastMs).toZonedDateTimeISO(timeZone).toPlainDate().toString();
  lastDays.set(key, day);
  return day;
}

/** The same time of day some days later: where clocks are set back in between, 24 hours a day would name the day before. */
export function daysAfter(instant: Date, days: number, timeZone: string): Date {
  const local = Temporal.Instant.fromEpochMilliseconds(instant.getTime()).toZonedDateTimeISO(timeZone);
  return new Date(local.add({ days }).epochMilliseconds);
}

/**
 * The zone's name as IANA spells it.
 * @throws CallerFault where it is no zone of IANA; an offset such as "+01:00" is none, since it knows no summer time
 */
export function parseTimeZone(field: string, value: string): string {
  const zone = value.length <= ZONE_LENGTH_MAX && /^[A-Za-z]/.test(value) ? zoneOf(value) : undefined;
  if (zone !== undefined) return zone;
  const shown = JSON.stringify(value.slice(0, ZONE_LENGTH_MAX));
  throw new CallerFault('invalid_argument', field, `${field}: ${shown} is no time zone of IANA, e.g. "Europe/Berlin"`);
}

function zoneOf(value: string): string | undefined {
  try {
    return new Temporal.ZonedDateTime(0n, value).timeZoneId;
  } catch (reason) {
    if (reason instanceof RangeError) return undefined;
    throw reason;
  }
}

function periodOf(month: number, calendar: Calendar): BillingPeriod {
  const key = `${month} ${calendar.anchorDay} ${calendar.timeZone}`;
  const known = periods.get(key);
  if (known !== undefined) return known;
  const name = firstDay(month).toPlainYearMonth().toString();
  const period = { name, start: startOf(month, calendar), end: startOf(month + 1, calendar) };
  periods.set(key, period);
  return period;
}

/**
 * Midnight of the anchor day. Of a midnight that is skipped, Temporal gives the first instant behind the gap, even where a
 * whole day is; of one that comes twice, the first.
 */
function startOf(month: number, { timeZone, anchorDay }: Calendar): Date {
  const first = firstDay(month);
  const day = first.with({ day: Math.min(anchorDay, first.daysInMonth) });
  return new Date(day.toZonedDateTime(timeZone).epochMilliseconds);
}

function firstDay(month: number): Temporal.PlainDate {
  const monthOfYear = month % YEAR_MONTHS;
  return new Temporal.PlainDate((month - monthOfYear) / YEAR_MONTHS, monthOfYear + 1, 1);
}

/** @param name e.g. "2026-09" */
function monthOf(name: string): number {
  return Number(name.slice(0, 4)) * YEAR_MONTHS + Number(name.slice(5)) - 1;
}
