import { HOUR_NANOS } from './select.ts';
import type { TimeRange } from './whole-hours.ts';
import { type Quantities, quantitiesOf } from './window.ts';

/** The part of a window that lies in one hour. */
export interface HourShare extends TimeRange {
  readonly values: Quantities;
}

/**
 * Cuts a window at the edges of hours of UTC. With F(t) = floor(value × (t − start) / (end − start)), the part `[a, b)`
 * gets F(b) − F(a): whole numbers that add up to the value. `hour-rows.ts` says the same in SQL.
 */
export function hourShares(window: TimeRange & Quantities): HourShare[] {
  const lengthNanos = window.endNanos - window.startNanos;
  const until = (value: bigint, nanos: bigint) => (value * (nanos - window.startNanos)) / lengthNanos;
  const shares: HourShare[] = [];
  for (let from = window.startNanos; from < window.endNanos;) {
    const start = from;
    const edge = start - (start % HOUR_NANOS) + HOUR_NANOS;
    const end = edge < window.endNanos ? edge : window.endNanos;
    const values = quantitiesOf((field) => until(window[field], end) - until(window[field], start));
    shares.push({ startNanos: start, endNanos: end, values });
    from = end;
  }
  return shares;
}
