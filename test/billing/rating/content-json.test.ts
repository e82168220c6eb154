import { expect, it } from 'vitest';
import { parseDecimal } from '../../../src/billing/money.ts';
import { contentFromJson, contentToJson, sameContent } from '../../../src/billing/rating/content-json.ts';
import type { PlanContent } from '../../../src/billing/rating/plan-content.ts';

const price = parseDecimal('0.50', 'price');
const tiers = [{ upTo: undefined, unitPrice: price, flatAmount: price }];
const base = { description: '', metric: 'cpu', regions: ['eu'] };
const rest = { name: '', allowances: [], discounts: [], gapPolicy: 'skip', gapSecondsMax: 600 } as const;
const CONTENT: PlanContent = {
  ...rest,
  charges: [
    { ...base, chargeId: 'one', model: { kind: 'unit', price }, cap: undefined, minimum: undefined },
    { ...base, chargeId: 'two', model: { kind: 'graduated', tiers }, cap: price, minimum: undefined },
  ],
  minimum: undefined,
  commitment: undefined,
  cap: undefined,
};

it('is the same text where what there is none of is left out, as it is in the stored input of an invoice', () => {
  const kept = Object.fromEntries(Object.entries(CONTENT).filter(([, value]) => value !== undefined));
  const charges = CONTENT.charges.map((charge) => {
    return Object.fromEntries(Object.entries(charge).filter(([, value]) => value !== undefined));
  });
  const sparse: PlanContent = Object.assign(Object.create(null), kept, { charges });
  expect(Object.keys(sparse)).not.toContain('minimum');
  expect(contentToJson(sparse)).toBe(contentToJson(CONTENT));
  expect(sameContent(contentFromJson(JSON.parse(contentToJson(CONTENT))), sparse)).toBe(true);
  expect(sameContent({ ...sparse, cap: price }, CONTENT)).toBe(false);
});
