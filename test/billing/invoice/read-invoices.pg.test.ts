import { describe, expect, it } from 'vitest';
import { closePeriod } from '../../../src/billing/invoice/close-period.ts';
import { getInvoice, type InvoiceFilter, listInvoices } from '../../../src/billing/invoice/read-invoices.ts';
import type { Invoice } from '../../../src/billing/invoice/invoice.ts';
import { postgresForTest } from '../../database.ts';
import { aStore, subscribeToBasic } from '../a-store.ts';

const store = aStore(await postgresForTest());
await subscribeToBasic(store, 'acme', 'bolt');
for (const month of ['2026-07', '2026-08', '2026-09']) {
  store.usage.add('acme', `${month}-05T00:00Z`).add('bolt', `${month}-05T00:00Z`);
  if (month === '2026-09') for (const id of ['acme', 'bolt']) store.usage.pending.add(id);
  await closePeriod(store, month, AbortSignal.timeout(10_000));
}

async function list(filter: InvoiceFilter): Promise<Invoice[]> {
  return listInvoices(store.db, filter, 100);
}

describe('invoices', () => {
  it('are found by their id, with their lines', async () => {
    const [invoice] = await list({ customerId: 'acme', state: 'final' });
    expect(invoice?.lines).toHaveLength(1);
    const found = await getInvoice(store.db, invoice?.invoiceId ?? '');
    expect(found).toMatchObject({ buyer: { name: 'acme Ltd' } });
    expect({ ...found, buyer: undefined }).toEqual(invoice);
    expect(await getInvoice(store.db, invoice?.number ?? '')).toEqual(found);
  });

  it.each(['', 'x', '00000000-0000-0000-0000-000000000000'])('are not found by %j', async (invoiceId) => {
    const missing = getInvoice(store.db, invoiceId);
    await expect(missing).rejects.toMatchObject({ kind: 'not_found', field: 'invoice_id' });
  });

  it('are listed newest period first, page by page, none twice', async () => {
    const all = await list({});
    expect(all.map((invoice) => invoice.periodStart.toISOString().slice(0, 7))).toEqual([
      '2026-09',
      '2026-09',
      '2026-08',
      '2026-08',
      '2026-07',
      '2026-07',
    ]);
    const paged: Invoice[] = [];
    for (;;) {
      const page = await listInvoices(store.db, { before: paged.at(-1) }, 1);
      if (page.length === 0) break;
      paged.push(...page);
    }
    expect(paged).toEqual(all);
  });

  it('are narrowed by customer and state', async () => {
    const customers = (await list({ customerId: 'bolt' })).map((invoice) => invoice.customerId);
    expect(customers).toEqual(['bolt', 'bolt', 'bolt']);
    expect(await list({ state: 'draft' })).toHaveLength(2);
    expect(await list({ customerId: 'bolt', state: 'final' })).toHaveLength(2);
    expect(await list({ customerId: 'nobody' })).toEqual([]);
  });
});
