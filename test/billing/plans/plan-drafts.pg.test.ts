import { describe, expect, it } from 'vitest';
import { listAudit } from '../../../src/audit/trail.ts';
import type { ChargeText } from '../../../src/billing/plans/parse-content.ts';
import { defineMetric, listOwnMetrics } from '../../../src/billing/plans/metrics-store.ts';
import {
  deletePlanDraft,
  getPlanDraft,
  publishPlanDraft,
  savePlanDraft,
} from '../../../src/billing/plans/plan-drafts.ts';
import { previewDraft } from '../../../src/billing/plans/preview-draft.ts';
import { listPlans, publishPlan } from '../../../src/billing/plans/publish-plan.ts';
import { postgresForTest } from '../../database.ts';
import { ACTOR, aStore, subscribeToBasic } from '../a-store.ts';
import { aCharge, aContent } from './a-content.ts';

const store = aStore(await postgresForTest());
const VALID_FROM = new Date('2026-11-01T00:00:00Z');

function save(planId: string, price: string, metric = 'cpu') {
  const model: ChargeText['model'] = { case: 'unitPrice', value: { price } };
  const content = aContent({ charges: [aCharge({ chargeId: metric, metric, model })] });
  return savePlanDraft(store, { planId, currency: 'USD', content }, ACTOR);
}

function publish(planId: string, revision: number) {
  return publishPlanDraft(store, { planId, revision, validFrom: VALID_FROM }, ACTOR);
}

describe('a draft', () => {
  it('rises in revision with every save that changes something, and prices nothing', async () => {
    expect(await save('a', '0.05')).toMatchObject({ revision: 1, currency: 'USD' });
    expect(await save('a', '0.050')).toMatchObject({ revision: 1 });
    const second = await save('a', '0.06');
    expect(second).toMatchObject({ revision: 2 });
    expect(await getPlanDraft(store.db, 'a')).toEqual(second);
    expect(await listPlans(store.db, { planId: 'a' }, 10)).toEqual([]);
  });

  it('becomes the next version at the revision that was looked at only, once', async () => {
    await save('b', '0.05');
    const looked = await save('b', '0.06');
    await expect(publish('b', 1)).rejects.toMatchObject({
      kind: 'failed_precondition',
      message: 'revision: the draft of plan "b" is at revision 2, not 1',
    });
    const versions = await Promise.all([publish('b', 2), publish('b', 2)]);
    expect(versions.map(({ version }) => version)).toEqual([1, 1]);
    const [published, ...more] = await listPlans(store.db, { planId: 'b' }, 10);
    expect(more).toEqual([]);
    expect(published).toMatchObject({ validFrom: VALID_FROM, content: looked.content });
  });

  it('is gone once it is deleted', async () => {
    await save('c', '0.05');
    await deletePlanDraft(store, 'c', ACTOR);
    await deletePlanDraft(store, 'c', ACTOR);
    await expect(getPlanDraft(store.db, 'c')).rejects.toMatchObject({ kind: 'not_found', field: 'plan_id' });
    await expect(publish('c', 1)).rejects.toMatchObject({ kind: 'not_found' });
    const trail = (await listAudit(store.db, undefined, 1000)).filter(({ subject }) => subject === 'c');
    expect(trail.map(({ action }) => action)).toEqual(['plan.draft_deleted', 'plan.draft_saved']);
  });

  it('is refused as a plan is', async () => {
    await expect(save('d', '-1')).rejects.toMatchObject({ field: 'content.charges[0].unit_price.price' });
    await expect(save('d', '1', 'gpu')).rejects.toMatchObject({ field: 'content.charges[0].metric' });
    const both = {
      rates: { cpuPerCoreHour: 1, memoryPerGbHour: 0, diskIoPerGb: 0, networkPerGb: 0 },
      content: aContent(),
    };
    const plan = { planId: 'd', currency: 'USD', validFrom: VALID_FROM };
    await expect(publishPlan(store, { ...plan, ...both }, ACTOR)).rejects.toMatchObject({ field: 'rates' });
    await expect(publishPlan(store, plan, ACTOR)).rejects.toMatchObject({ field: 'content' });
  });
});

describe('a preview', () => {
  it('tells for each customer what the draft would have changed, page by page, and writes nothing', async () => {
    await subscribeToBasic(store, 'ann', 'bob', 'eve');
    store.usage.add('ann', '2026-09-10T00:00Z').add('ann', '2026-09-11T00:00Z').add('bob', '2026-09-10T00:00Z');
    await save('basic', '0.10');
    const before = await store.db.selectFrom('audit_head').selectAll().execute();
    const signal = AbortSignal.timeout(10_000);
    const first = await previewDraft(store, 'basic', '2026-09', '', 2, signal);
    const rest = await previewDraft(store, 'basic', '2026-09', 'bob', 2, signal);
    expect([...first, ...rest]).toEqual([
      { customerId: 'ann', currency: 'USD', before: '0.10', after: '0.20', difference: '0.10', problem: '' },
      { customerId: 'bob', currency: 'USD', before: '0.05', after: '0.10', difference: '0.05', problem: '' },
      expect.objectContaining({ customerId: 'eve', problem: '' }),
    ]);
    expect(Number(rest[0]?.difference)).toBe(0);
    const [running] = await previewDraft(store, 'basic', '2026-10', '', 1, signal);
    expect(running?.problem).toBe('2026-10 is not over for customer "ann"');
    expect(await store.db.selectFrom('audit_head').selectAll().execute()).toEqual(before);
    expect(await store.db.selectFrom('invoices').select('id').execute()).toEqual([]);
  });
});

describe('a metric of your own', () => {
  const METRIC = {
    id: 'io_millions',
    description: 'I/O',
    unit: 'million operations',
    terms: [
      { quantity: 'diskReadOps', weight: 1n },
      { quantity: 'diskWriteOps', weight: 4n },
    ],
    perUnit: '1000000',
  } as const;

  it('is defined once, can be charged, and never changes', async () => {
    const defined = await Promise.all([1, 2].map(() => defineMetric(store, METRIC, ACTOR)));
    expect(defined).toEqual([1, 2].map(() => ({ ...METRIC, perUnit: 1_000_000n })));
    expect(await listOwnMetrics(store.db, '', 10)).toEqual([defined[0]]);
    expect(await save('io', '0.2', 'io_millions')).toMatchObject({ revision: 1 });
    const other = defineMetric(store, { ...METRIC, perUnit: '1000' }, ACTOR);
    await expect(other).rejects.toMatchObject({ kind: 'already_exists', field: 'metric.metric_id' });
  });

  it.each([
    [{ id: 'cpu' }, 'metric.metric_id', 'comes with meterd'],
    [{ id: '' }, 'metric.metric_id', 'is empty'],
    [{ unit: '' }, 'metric.unit', 'is empty'],
    [{ terms: [] }, 'metric.terms', 'there are none'],
    [{ terms: [{ quantity: 'diskReadOps', weight: 0n } as const] }, 'metric.terms[0].weight', '0 is not from 1'],
    [{ perUnit: '0' }, 'metric.per_unit', '0 is not above 0'],
    [{ perUnit: '1.5' }, 'metric.per_unit', 'digits behind the point'],
  ])('is refused with %o', async (change, field, message) => {
    const refused = defineMetric(store, { ...METRIC, id: 'other', ...change }, ACTOR);
    await expect(refused).rejects.toMatchObject({ field, message: expect.stringContaining(message) });
  });
});
