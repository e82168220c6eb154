import { array, assert, asyncProperty, constantFrom, integer, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createCustomer } from '../../../src/billing/customers.ts';
import { closeCustomer } from '../../../src/billing/invoice/closings.ts';
import type { Invoice } from '../../../src/billing/invoice/invoice.ts';
import { listInvoices } from '../../../src/billing/invoice/read-invoices.ts';
import { reissueInvoice } from '../../../src/billing/invoice/reissue.ts';
import { voidInvoice } from '../../../src/billing/invoice/void-invoice.ts';
import { balances } from '../../../src/billing/ledger/read-ledger.ts';
import { endSubscription, subscribe } from '../../../src/billing/plans/subscribe.ts';
import { postgresForTest } from '../../database.ts';
import { ACTOR, aStore, publishContent } from '../a-store.ts';
import { aCharge, aContent } from '../plans/a-content.ts';

const postgres = await postgresForTest();
const store = aStore(postgres);
store.clock.set('2026-06-03T00:00:00Z');
const MONTHS = ['2026-01', '2026-02', '2026-03', '2026-04', '2026-05'] as const;
const SOON = () => AbortSignal.timeout(20_000);
let made = 0;

const flatFee = { case: 'flatFee', value: { amount: '100.00', inAdvance: true } } as const;
const fee = aCharge({ chargeId: 'support', metric: '', model: flatFee });
await publishContent(store, { planId: 'support', currency: 'EUR', content: aContent({ charges: [fee] }) });

async function aCustomer(): Promise<string> {
  const customerId = `customer-${++made}`;
  await createCustomer(store, { customerId, name: customerId, currency: 'EUR' }, ACTOR);
  await subscribe(store, { customerId, planId: 'support', startsAt: new Date('2026-01-01T00:00:00Z') }, ACTOR);
  return customerId;
}

async function standing(customerId: string): Promise<Invoice[]> {
  const invoices = await listInvoices(store.db, { customerId }, 1000);
  return invoices.filter(({ state }) => state === 'final' || state === 'paid');
}

/** What the invoices that stand bill of each month's fee, in cents. */
async function billedOf(customerId: string): Promise<Map<string, bigint>> {
  const billed = new Map<string, bigint>();
  for (const { lines } of await standing(customerId)) {
    for (const { start, amount } of lines) {
      const month = start.toISOString().slice(0, 7);
      billed.set(month, (billed.get(month) ?? 0n) + BigInt(amount.replace('.', '')));
    }
  }
  return billed;
}

type What = 'close' | 'void' | 'reissue';

async function change(customerId: string, what: What, month: string): Promise<void> {
  if (what === 'close') {
    await closeCustomer(store, customerId, month, SOON());
    return;
  }
  const invoice = (await standing(customerId)).find(({ period }) => period === month);
  if (invoice === undefined) return;
  const request = { invoiceId: invoice.invoiceId, reason: 'r' };
  const done = what === 'void' ? voidInvoice(store, request, ACTOR) : reissueInvoice(store, request, ACTOR, SOON());
  await Promise.resolve(done).catch((reason: unknown) => {
    expect(reason).toMatchObject({ kind: 'failed_precondition', field: 'invoice_id' });
  });
}

describe('fees in advance', () => {
  it('are each billed once, in whatever order months are closed, voided and issued anew', async () => {
    const step = record({
      what: constantFrom<What>('close', 'close', 'void', 'reissue'),
      month: integer({ min: 0, max: MONTHS.length - 1 }),
    });
    await assert(
      asyncProperty(array(step, { maxLength: 12 }), async (steps) => {
        const customerId = await aCustomer();
        for (const { what, month } of steps) await change(customerId, what, MONTHS[month] ?? '');
        for (const month of MONTHS) await closeCustomer(store, customerId, month, SOON());
        const billed = await billedOf(customerId);
        expect(billed).toEqual(new Map([...MONTHS, '2026-06'].map((month) => [month, 10_000n])));
        const [balance] = await balances(store.db, `receivable:${customerId}`, undefined, 10);
        expect(balance?.amount).toBe('600.00');
      }),
      { numRuns: 12 },
    );
  });

  it('that a void invoice had are billed by the month that they are for', async () => {
    const customerId = await aCustomer();
    const amounts = async () => {
      return Object.fromEntries((await standing(customerId)).map(({ period, total }) => [period, total]));
    };
    await change(customerId, 'close', '2026-01');
    expect(await amounts()).toEqual({ '2026-01': '200.00' });
    await change(customerId, 'void', '2026-01');
    await change(customerId, 'close', '2026-02');
    expect(await amounts()).toEqual({ '2026-02': '200.00' });
    await change(customerId, 'close', '2026-01');
    expect(await amounts()).toEqual({ '2026-01': '100.00', '2026-02': '200.00' });
  });

  it('that are on a draft count for nothing where the month that they are for is final first', async () => {
    const customerId = await aCustomer();
    store.usage.pending.add(customerId);
    await change(customerId, 'close', '2026-01');
    expect(await listInvoices(store.db, { customerId }, 10)).toMatchObject([{ state: 'draft', total: '200.00' }]);
    store.usage.pending.delete(customerId);
    await change(customerId, 'close', '2026-02');
    await change(customerId, 'close', '2026-01');
    const billed = await billedOf(customerId);
    expect(billed).toEqual(new Map(['2026-01', '2026-02', '2026-03'].map((month) => [month, 10_000n])));
  });

  it('are planned anew by a re-issue, and settled by the next month where that came to something else', async () => {
    const customerId = await aCustomer();
    await change(customerId, 'close', '2026-03');
    await endSubscription(store, { customerId, endsAt: new Date('2026-04-16T00:00:00Z') }, ACTOR);
    await change(customerId, 'reissue', '2026-03');
    const [march] = await standing(customerId);
    expect(march?.lines.map(({ start, amount }) => [start.toISOString().slice(0, 10), amount])).toEqual([
      ['2026-03-01', '100.00'],
      ['2026-04-01', '50.00'],
    ]);
    await change(customerId, 'close', '2026-04');
    expect(await standing(customerId)).toEqual([march]);
    const refused = voidInvoice(store, { invoiceId: march?.invoiceId ?? '', reason: 'r' }, ACTOR);
    expect((await refused).state).toBe('void');
  });
});
