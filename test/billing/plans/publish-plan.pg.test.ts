import { describe, expect, it } from 'vitest';
import { listAudit } from '../../../src/audit/trail.ts';
import { closePeriod } from '../../../src/billing/invoice/close-period.ts';
import { ratesOf } from '../../../src/billing/rating/content-json.ts';
import { listPlans, publishPlan } from '../../../src/billing/plans/publish-plan.ts';
import { postgresForTest } from '../../database.ts';
import { ACTOR, aStore, RATES, subscribeToBasic } from '../a-store.ts';

const store = aStore(await postgresForTest());
const CHEAPER = { ...RATES, cpuPerCoreHour: 0.04 };

function publish(planId: string, validFrom: string, rates = RATES, currency = 'USD') {
  return publishPlan(store, { planId, currency, rates, validFrom: new Date(validFrom) }, ACTOR);
}

describe('publishing a plan', () => {
  it('makes one version of the same content, however often and at once it is asked for', async () => {
    const all = await Promise.all(Array.from({ length: 4 }, () => publish('once', '2026-01-01T00:00Z')));
    expect(all.map((version) => version.version)).toEqual([1, 1, 1, 1]);
    const second = await publish('once', '2026-02-01T00:00Z', CHEAPER);
    expect(second).toMatchObject({ version: 2, validFrom: new Date('2026-02-01T00:00Z') });
    expect(ratesOf(second.content)).toEqual(CHEAPER);
    expect(await publish('once', '2026-01-01T00:00Z')).toEqual(all[0]);
    const records = (await listAudit(store.db, undefined, 100)).filter((record) => record.subject === 'once');
    expect(records.map((record) => record.action)).toEqual(['plan.published', 'plan.published']);
  });

  it.each([
    ['2026-01-01T00:00Z', CHEAPER, 'USD', 'valid_from: 2026-01-01T00:00:00.000Z is not after that of version 1'],
    ['2025-12-31T00:00Z', RATES, 'USD', 'valid_from: 2025-12-31T00:00:00.000Z is not after that of version 1'],
    ['2026-02-01T00:00Z', RATES, 'EUR', 'currency: plan "fixed" is in USD, and its subscribers with it, not in EUR'],
  ])('refuses a version from %s with %j in %s', async (validFrom, rates, currency, message) => {
    await publish('fixed', '2026-01-01T00:00Z');
    const refused = publish('fixed', validFrom, rates, currency);
    await expect(refused).rejects.toMatchObject({
      kind: 'failed_precondition',
      message: expect.stringContaining(message),
    });
  });

  it.each([
    ['', '2026-01-01T00:00Z', 'USD', 'plan_id'],
    ['bad', '1999-01-01T00:00Z', 'USD', 'valid_from'],
    ['bad', '2026-01-01T00:00Z', 'XXX', 'currency'],
  ])('refuses plan %j from %s in %s', async (planId, validFrom, currency, field) => {
    const refused = publish(planId, validFrom, RATES, currency);
    await expect(refused).rejects.toMatchObject({ kind: 'invalid_argument', field });
  });

  it('never changes a price inside a final invoice', async () => {
    await subscribeToBasic(store, 'acme');
    store.usage.add('acme', '2026-09-30T23:00Z');
    await closePeriod(store, '2026-09', AbortSignal.timeout(10_000));
    for (const validFrom of ['2026-09-01T00:00Z', '2026-09-30T23:00Z']) {
      await expect(publish('basic', validFrom, CHEAPER)).rejects.toMatchObject({
        kind: 'failed_precondition',
        message: expect.stringContaining('would change prices inside the final invoice INV-000001'),
      });
    }
    // The hour that begins within the invoice is the last one of it: from the next on everything is open.
    expect(await publish('basic', '2026-09-30T23:00:01Z', CHEAPER)).toMatchObject({ version: 2 });
  });

  it('is listed by plan and version, page by page', async () => {
    await publish('once', '2026-01-01T00:00Z');
    const seen: string[] = [];
    let after: { planId: string; version: number } | undefined;
    for (;;) {
      const page = await listPlans(store.db, { after }, 2);
      seen.push(...page.map((version) => `${version.planId} ${version.version}`));
      after = page.at(-1);
      if (after === undefined) break;
    }
    expect(seen).toEqual(seen.toSorted());
    expect(seen).toEqual(['basic 1', 'basic 2', 'fixed 1', 'once 1', 'once 2']);
  });
});
