import { HOUR_SECONDS } from './select.ts';
import type { Cells } from './cells.ts';
import type { TouchedHour } from './touched-hours.ts';

const DAY_SECONDS = 24 * HOUR_SECONDS;

/**
 * The pairs in groups, a customer in one of them: those whose first hours are of the same day, and their last hours. ClickHouse
 * reads some thousand windows of a VM or more for any of its hours, so hours that are near each other are read at once,
 * whoever has touched which; and nobody's windows of long ago because somebody else's came late.
 */
export function readTogether(touched: readonly TouchedHour[]): TouchedHour[][] {
  const dayOf = (hour: number) => hour - (hour % DAY_SECONDS);
  const byCustomer = [...Map.groupBy(touched, (each) => each.customerId).values()];
  return groups(byCustomer, (pairs) => {
    const hours = pairs.map((each) => each.hour);
    return `${dayOf(Math.min(...hours))} ${dayOf(Math.max(...hours))}`;
  });
}

/** The pairs as rectangles of customers and hours, each pair in one: hours with the same customers go together. */
export function rectangles(touched: readonly TouchedHour[]): TouchedHour[][] {
  const byHour = [...Map.groupBy(touched, (each) => each.hour).values()];
  return groups(byHour, (pairs) => JSON.stringify(pairs.map((each) => each.customerId).toSorted()));
}

/** All customers and all hours of the pairs: as many cells as pairs, or more. */
export function cellsOf(touched: readonly TouchedHour[]): Cells {
  return {
    customerIds: [...new Set(touched.map((each) => each.customerId))],
    hours: [...new Set(touched.map((each) => each.hour))],
  };
}

function groups(lists: readonly TouchedHour[][], keyOf: (list: readonly TouchedHour[]) => string): TouchedHour[][] {
  return [...Map.groupBy(lists, keyOf).values()].map((same) => same.flat());
}
