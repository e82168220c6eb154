import { beforeAll, describe, expect, it } from 'vitest';
import { listAudit } from '../../../src/audit/trail.ts';
import { closePeriod } from '../../../src/billing/invoice/close-period.ts';
import {
  createDiscount,
  type DiscountRequest,
  endDiscount,
  listDiscounts,
} from '../../../src/billing/plans/discounts.ts';
import { postgresForTest } from '../../database.ts';
import { ACTOR, aStore, subscribeToBasic } from '../a-store.ts';

const store = aStore(await postgresForTest());
const VALID_FROM = new Date('2026-10-01T00:00Z');

function create(discountId: string, change: Partial<DiscountRequest> = {}) {
  const terms = { description: 'Loyalty', value: { case: 'percent', value: '10' }, chargeIds: [], order: 1 } as const;
  const validity = { validFrom: VALID_FROM, validUntil: undefined };
  return createDiscount(store, { discountId, customerId: 'acme', terms, ...validity, ...change }, ACTOR);
}

function end(discountId: string, validUntil: string) {
  return endDiscount(store, { discountId, validUntil: new Date(validUntil) }, ACTOR);
}

beforeAll(async () => {
  await subscribeToBasic(store, 'acme', 'other');
  store.usage.add('acme', '2026-09-15T00:00Z');
  await closePeriod(store, '2026-09', AbortSignal.timeout(10_000));
});

describe('a discount', () => {
  it('is made once, however often and at once it is asked for', async () => {
    const all = await Promise.all(Array.from({ length: 4 }, () => create('once')));
    expect(new Set(all.map((each) => JSON.stringify(each, bigintText))).size).toBe(1);
    const trail = (await listAudit(store.db, undefined, 1000)).filter(({ action }) => action === 'discount.created');
    expect(trail.filter(({ detail }) => detail.includes('"once"'))).toHaveLength(1);
    for (const change of [{ customerId: 'other' }, { validFrom: new Date('2026-10-02T00:00Z') }]) {
      await expect(create('once', change)).rejects.toMatchObject({ kind: 'already_exists' });
    }
  });

  it.each<[Partial<DiscountRequest>, string, string]>([
    [{ customerId: 'nobody' }, 'not_found', 'customer_id'],
    [{ validUntil: VALID_FROM }, 'invalid_argument', 'discount.valid_until'],
    [{ validFrom: new Date(0) }, 'invalid_argument', 'discount.valid_from'],
    [{ validFrom: new Date('2026-09-01T00:00Z') }, 'failed_precondition', 'discount.valid_from'],
  ])('is refused with %o: %s', async (change, kind, field) => {
    await expect(create('refused', change)).rejects.toMatchObject({ kind, field });
  });

  it('may begin inside a final invoice, for the periods behind it', async () => {
    expect(await create('mid', { validFrom: new Date('2026-09-01T00:00:01Z') })).toMatchObject({ discountId: 'mid' });
  });

  it('ends once, only ever earlier, and never for a final invoice', async () => {
    await create('ends');
    const ended = await Promise.all([1, 2].map(() => end('ends', '2027-01-01T00:00Z')));
    expect(ended[1]).toMatchObject({ validUntil: new Date('2027-01-01T00:00Z') });
    await expect(end('ends', '2027-02-01T00:00Z')).rejects.toMatchObject({ kind: 'failed_precondition' });
    expect(await end('ends', '2026-12-01T00:00Z')).toMatchObject({ validUntil: new Date('2026-12-01T00:00Z') });
    await expect(end('ends', '2026-10-01T00:00Z')).rejects.toMatchObject({ kind: 'invalid_argument' });
    await expect(end('no such', '2026-10-01T00:00Z')).rejects.toMatchObject({ kind: 'not_found' });
    const terms = JSON.stringify({
      description: '',
      value: { kind: 'percent', percent: '1' },
      chargeIds: [],
      order: 0,
    });
    const row = { customer_id: 'acme', terms, valid_until: null, created_at: VALID_FROM };
    const old = { id: 'old', valid_from: new Date('2026-01-01T00:00Z'), ...row };
    await store.db.insertInto('discounts').values(old).execute();
    await expect(end('old', '2026-09-01T00:00Z')).rejects.toThrow('would change the final invoice INV-000001');
    expect(await end('old', '2026-09-01T00:00:01Z')).toMatchObject({ discountId: 'old' });
  });

  it('is listed by customer and id', async () => {
    await create('z', { customerId: 'other' });
    await create('once');
    const all = await listDiscounts(store.db, {}, 100);
    const keys = all.map(({ customerId, discountId }) => `${customerId} ${discountId}`);
    expect(keys).toEqual(keys.toSorted());
    expect(await listDiscounts(store.db, { after: all[0] }, 1)).toEqual(all.slice(1, 2));
    expect(await listDiscounts(store.db, { customerId: 'other' }, 10)).toMatchObject([{ discountId: 'z' }]);
  });
});

function bigintText(_name: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}
