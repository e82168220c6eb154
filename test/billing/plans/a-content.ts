import type { ChargeText, PlanContentText } from '../../../src/billing/plans/parse-content.ts';

/** A charge of 0.05 a core-hour, unless said otherwise. */
export function aCharge(change: Partial<ChargeText> = {}): ChargeText {
  const model: ChargeText['model'] = { case: 'unitPrice', value: { price: '0.05' } };
  return { chargeId: 'cpu', description: '', metric: 'cpu', regions: [], cap: '', minimum: '', model, ...change };
}

/** A plan with that charge alone, unless said otherwise. */
export function aContent(change: Partial<PlanContentText> = {}): PlanContentText {
  const none = { name: '', allowances: [], discounts: [], minimum: '', cap: '' };
  return { ...none, charges: [aCharge()], gapPolicy: 'skip', gapSecondsMax: 0, ...change };
}
