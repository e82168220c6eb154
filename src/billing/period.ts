import { CallerFault } from '../lib/failure.ts';

/** A calendar month in UTC. */
export interface Period {
  /** E.g. "2026-09". */
  readonly name: string;
  readonly start: Date;
  /** Exclusive. */
  readonly end: Date;
}

const EARLIEST = new Date(Date.UTC(2000, 0));
const LATEST = new Date(Date.UTC(3000, 0));
const MONTH = /^(2\d{3})-(0[1-9]|1[0-2])$/;

/** @throws CallerFault where it is no month from 2000-01 to 2999-12 */
export function parsePeriod(name: string): Period {
  const [, year, month] = MONTH.exec(name) ?? [];
  if (year === undefined || month === undefined) {
    const shown = JSON.stringify(name.slice(0, 20));
    throw new CallerFault('invalid_argument', 'period', `period: ${shown} is no month from "2000-01" to "2999-12"`);
  }
  const next = Number(month);
  return { name, start: new Date(Date.UTC(Number(year), next - 1)), end: new Date(Date.UTC(Number(year), next)) };
}

/** Prices and subscriptions begin within the months that there are. @throws CallerFault */
export function checkInstant(field: string, instant: Date): void {
  if (instant >= EARLIEST && instant < LATEST) return;
  const message = `${field}: ${instant.toISOString()} is not from ${EARLIEST.toISOString()} to before ${LATEST.toISOString()}`;
  throw new CallerFault('invalid_argument', field, message);
}
