import type { Period } from '../period.ts';
import type { PlanVersion } from './plan-version.ts';

/** A customer has a plan from an instant on, until its next subscription starts. */
export interface Subscription {
  readonly customerId: string;
  /** Empty: none from here on. */
  readonly planId: string;
  /** On a whole second. */
  readonly startsAt: Date;
}

/** Time that has the same prices: `[start, end)`, on whole seconds. */
export interface PriceSpan {
  readonly start: Date;
  readonly end: Date;
  readonly plan: PlanVersion;
}

const HOUR_MS = 3_600_000;

/**
 * Cuts the period into spans of one plan version each, in order. Time without a subscription, or before the plan's first
 * version, is in none. A subscription holds from its second on, a version from the first whole hour of UTC that it is valid at.
 * @param subscriptions of one customer, in any order
 * @param versions of the plans subscribed to, in any order
 */
export function priceSpans(
  period: Pick<Period, 'start' | 'end'>,
  subscriptions: readonly Subscription[],
  versions: readonly PlanVersion[],
): PriceSpan[] {
  const cuts = [...subscriptions.map((each) => each.startsAt), ...versions.map((each) => firstHour(each.validFrom))]
    .map((date) => date.getTime())
    .filter((ms) => ms > period.start.getTime() && ms < period.end.getTime());
  const edges = [...new Set([period.start.getTime(), ...cuts, period.end.getTime()])].toSorted((a, b) => a - b);
  const spans: PriceSpan[] = [];
  for (const [index, endMs] of edges.slice(1).entries()) {
    const start = new Date(edges[index] ?? endMs);
    const plan = planAt(start, subscriptions, versions);
    const last = spans.at(-1);
    if (plan === undefined) continue;
    const joins = last?.plan === plan && last.end.getTime() === start.getTime();
    const span = { start: joins ? last.start : start, end: new Date(endMs), plan };
    spans.splice(joins ? -1 : spans.length, joins ? 1 : 0, span);
  }
  return spans;
}

/** The start of the first whole hour that begins at this instant, which is not before 1970, or after it. */
export function firstHour(instant: Date): Date {
  const restMs = instant.getTime() % HOUR_MS;
  return restMs === 0 ? instant : new Date(instant.getTime() - restMs + HOUR_MS);
}

function planAt(
  instant: Date,
  subscriptions: readonly Subscription[],
  versions: readonly PlanVersion[],
): PlanVersion | undefined {
  const subscription = latest(subscriptions, (each) => each.startsAt, instant);
  const ofPlan = versions.filter((each) => each.planId === subscription?.planId);
  const holding = ofPlan.filter((each) => firstHour(each.validFrom) <= instant);
  return latest(holding, (each) => each.validFrom, instant);
}

/** The one with the latest time that is not after `instant`. */
function latest<T>(all: readonly T[], timeOf: (one: T) => Date, instant: Date): T | undefined {
  const begun = all.filter((each) => timeOf(each) <= instant);
  return begun.toSorted((a, b) => timeOf(a).getTime() - timeOf(b).getTime()).at(-1);
}
