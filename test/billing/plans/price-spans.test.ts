import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePeriod } from '../../../src/billing/period.ts';
import type { PlanVersion } from '../../../src/billing/plans/plan-version.ts';
import { contentOfRates } from '../../../src/billing/rating/content-json.ts';
import { type PriceSpan, priceSpans, type Subscription } from '../../../src/billing/plans/price-spans.ts';

const PERIOD = parsePeriod('2026-09');
const HOUR_MS = 3_600_000;

describe('price spans', () => {
  it('are the whole period where nothing changes in it', () => {
    const spans = priceSpans(
      PERIOD,
      [subscribed('basic', '2026-01-01T00:00Z')],
      [version('basic', 1, '2025-01-01T00:00Z')],
    );
    expect(spans.map(shown)).toEqual(['01T00 to 01T00: basic 1']);
  });

  it('split where the plan or its version changes', () => {
    const subscriptions = [subscribed('pro', '2026-09-20T12:00Z'), subscribed('basic', '2026-01-01T00:00Z')];
    const versions = [version('basic', 2, '2026-09-10T00:00Z'), version('basic', 1, '2025-01-01T00:00Z')];
    const spans = priceSpans(PERIOD, subscriptions, [...versions, version('pro', 7, '2026-09-20T12:00Z')]);
    expect(spans.map(shown)).toEqual(['01T00 to 10T00: basic 1', '10T00 to 20T12: basic 2', '20T12 to 01T00: pro 7']);
  });

  it('leave out hours without a subscription, and hours before the plan has a price', () => {
    const versions = [version('basic', 1, '2026-09-03T00:00Z')];
    expect(priceSpans(PERIOD, [], versions)).toEqual([]);
    expect(priceSpans(PERIOD, [subscribed('basic', '2026-10-01T00:00Z')], versions)).toEqual([]);
    const spans = priceSpans(PERIOD, [subscribed('basic', '2026-09-02T00:00Z')], versions);
    expect(spans.map(shown)).toEqual(['03T00 to 01T00: basic 1']);
  });

  it('take up a version from the middle of an hour with the next hour, the later of two', () => {
    const first = version('basic', 1, '2025-01-01T00:00Z');
    const versions = [first, version('basic', 2, '2026-09-10T10:15Z'), version('basic', 3, '2026-09-10T10:45Z')];
    const spans = priceSpans(PERIOD, [subscribed('basic', '2026-01-01T00:00Z')], versions);
    expect(spans.map(shown)).toEqual(['01T00 to 10T11: basic 1', '10T11 to 01T00: basic 3']);
  });

  it('take up a plan at its very second, with the version that is valid at the start of that hour', () => {
    const subscriptions = [subscribed('basic', '2026-01-01T00:00Z'), subscribed('pro', '2026-09-10T10:30:15Z')];
    const versions = [version('basic', 1, '2025-01-01T00:00Z'), version('pro', 1, '2025-01-01T00:00Z')];
    const spans = priceSpans(PERIOD, subscriptions, [...versions, version('pro', 2, '2026-09-10T10:10Z')]);
    expect(spans.map(({ start, plan }) => [start.toISOString(), plan.planId, plan.version])).toEqual([
      ['2026-09-01T00:00:00.000Z', 'basic', 1],
      ['2026-09-10T10:30:15.000Z', 'pro', 1],
      ['2026-09-10T11:00:00.000Z', 'pro', 2],
    ]);
  });

  it('stop where a subscription ends', () => {
    const subscriptions = [subscribed('basic', '2026-01-01T00:00Z'), subscribed('', '2026-09-10T10:00Z')];
    const spans = priceSpans(PERIOD, subscriptions, [version('basic', 1, '2025-01-01T00:00Z')]);
    expect(spans.map(shown)).toEqual(['01T00 to 10T10: basic 1']);
  });

  it('join where a subscription only repeats the plan', () => {
    const subscriptions = [subscribed('basic', '2026-01-01T00:00Z'), subscribed('basic', '2026-09-15T00:00Z')];
    const spans = priceSpans(PERIOD, subscriptions, [version('basic', 1, '2025-01-01T00:00Z')]);
    expect(spans.map(shown)).toEqual(['01T00 to 01T00: basic 1']);
  });

  it('give each hour what a look at that hour alone gives', () => {
    const minutes = fc.integer({ min: -50 * 60, max: 31 * 24 * 60 });
    const at = (minute: number) => new Date(PERIOD.start.getTime() + minute * 60_000);
    const subscriptions = fc.uniqueArray(
      fc.tuple(
        minutes.map((each) => Math.floor(each / 60) * 60),
        fc.constantFrom('a', 'b'),
      ),
      {
        maxLength: 5,
        selector: ([minute]) => minute,
      },
    );
    const versions = fc.uniqueArray(fc.tuple(minutes, fc.constantFrom('a', 'b')), {
      maxLength: 6,
      selector: ([minute]) => minute,
    });
    fc.assert(
      fc.property(subscriptions, versions, (someSubscriptions, someVersions) => {
        const subscribedTo = someSubscriptions.map(([minute, planId]) => ({
          customerId: 'c',
          planId,
          startsAt: at(minute),
        }));
        const published = someVersions.map(([minute, planId], index) => version(planId, index + 1, at(minute)));
        const spans = priceSpans(PERIOD, subscribedTo, published);
        for (let ms = PERIOD.start.getTime(); ms < PERIOD.end.getTime(); ms += HOUR_MS) {
          const span = spans.filter((each) => each.start.getTime() <= ms && ms < each.end.getTime());
          expect(span.map((each) => each.plan)).toEqual(planOfHour(ms, subscribedTo, published));
        }
      }),
      { numRuns: 20 },
    );
  });
});

/** The plan version of one hour, by looking at everything that ever began. */
function planOfHour(
  ms: number,
  subscriptions: readonly Subscription[],
  versions: readonly PlanVersion[],
): PlanVersion[] {
  let planId: string | undefined;
  for (const each of subscriptions.toSorted((a, b) => a.startsAt.getTime() - b.startsAt.getTime())) {
    if (each.startsAt.getTime() <= ms) planId = each.planId;
  }
  let found: PlanVersion[] = [];
  for (const each of versions.toSorted((a, b) => a.validFrom.getTime() - b.validFrom.getTime())) {
    if (each.planId === planId && each.validFrom.getTime() <= ms) found = [each];
  }
  return found;
}

function subscribed(planId: string, startsAt: string): Subscription {
  return { customerId: 'acme', planId, startsAt: new Date(startsAt) };
}

function version(planId: string, number: number, validFrom: string | Date): PlanVersion {
  const content = contentOfRates({ cpuPerCoreHour: number, memoryPerGbHour: 0, diskIoPerGb: 0, networkPerGb: 0 });
  return { planId, version: number, currency: 'USD', content, validFrom: new Date(validFrom) };
}

function shown({ start, end, plan }: PriceSpan): string {
  return `${start.toISOString().slice(8, 13)} to ${end.toISOString().slice(8, 13)}: ${plan.planId} ${plan.version}`;
}
