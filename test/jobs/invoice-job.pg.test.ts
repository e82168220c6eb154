import { expect, it } from 'vitest';
import { listInvoices } from '../../src/billing/invoice/read-invoices.ts';
import { invoiceJob } from '../../src/jobs/invoice-job.ts';
import { aStore, CORE_HOUR_NANOS, subscribeToBasic } from '../billing/a-store.ts';
import { postgresForTest } from '../database.ts';

const store = aStore(await postgresForTest());
const soon = AbortSignal.timeout(20_000);

it('closes months with what was acknowledged and is not stored yet', async () => {
  await subscribeToBasic(store, 'acme');
  store.usage.add('acme', '2026-09-05T10:00:00Z');
  const settle = async () => {
    store.usage.add('acme', '2026-09-05T11:00:00Z', { cpuTimeNanos: 19n * CORE_HOUR_NANOS });
  };
  const job = invoiceJob({ schedule: '', store, settle });
  expect(await job.due(store.clock.nowMs(), soon)).toContain('2026-09');
  expect(await job.run('2026-09', soon)).toBe(
    '1 invoices made final, 0 drafts, 0 customers with nothing to bill; the period is closed',
  );
  expect(await listInvoices(store.db, { period: '2026-09' }, 10)).toMatchObject([{ state: 'final', total: '1.00' }]);
  expect(await job.due(store.clock.nowMs(), soon)).not.toContain('2026-09');
});
