import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { listAudit } from '../../../src/audit/trail.ts';
import { verifyAudit } from '../../../src/audit/verify-audit.ts';
import { closeCustomer, listClosings } from '../../../src/billing/invoice/closings.ts';
import { closePeriod, InvoicesFailed } from '../../../src/billing/invoice/close-period.ts';
import { openPeriods } from '../../../src/billing/invoice/open-periods.ts';
import { hashLines } from '../../../src/billing/invoice/compute-invoice.ts';
import { getInvoice, listInvoices } from '../../../src/billing/invoice/read-invoices.ts';
import { publishPlan } from '../../../src/billing/plans/publish-plan.ts';
import { putSeller } from '../../../src/billing/seller.ts';
import { postgresForTest } from '../../database.ts';
import { ACTOR, aStore, CORE_HOUR_NANOS, RATES, subscribeToBasic, type TestStore } from '../a-store.ts';

const postgres = await postgresForTest();
const GB = 1_000_000_000n;

/** Each test has a month of its own: they share the database, but no invoice. */
let testMonth = new Date('2026-01-01T00:00:00Z');
async function aMonth(...customerIds: string[]): Promise<Month> {
  const start = testMonth;
  testMonth = new Date(Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + 1));
  const store = aStore(postgres);
  const afterGrace = new Date(testMonth.getTime() + store.graceMs);
  store.clock.set(afterGrace.toISOString());
  await subscribeToBasic(store, ...customerIds);
  return new Month(store, start, afterGrace);
}

class Month {
  readonly store: TestStore;
  readonly name: string;
  readonly start: Date;
  readonly afterGrace: Date;

  constructor(store: TestStore, start: Date, afterGrace: Date) {
    this.store = store;
    this.name = start.toISOString().slice(0, 7);
    this.start = start;
    this.afterGrace = afterGrace;
  }

  /** E.g. "05T10" is the hour from 10 o'clock on the fifth. */
  hour(dayAndHour: string): string {
    return `${this.name}-${dayAndHour}:00:00Z`;
  }

  close() {
    return closePeriod(this.store, this.name, AbortSignal.timeout(20_000));
  }

  async invoices() {
    const all = await listInvoices(this.store.db, {}, 1000);
    return all.filter((invoice) => invoice.periodStart.getTime() === this.start.getTime());
  }
}

describe('closing a month', () => {
  it('makes an invoice with exact lines, its postings and its audit record', async () => {
    const month = await aMonth('acme');
    const much = {
      cpuTimeNanos: 1872n * CORE_HOUR_NANOS,
      memoryByteSeconds: 7488n * GB * 3600n,
      diskReadBytes: 224_640_000_000n,
    };
    month.store.usage.add('acme', month.hour('05T10'), { ...much, networkTxBytes: 224_640_000_000n });
    expect(await month.close()).toEqual({
      period: month.name,
      finals: 1,
      drafts: 0,
      empty: 0,
      failed: 0,
      closed: true,
    });
    const [invoice, ...others] = await month.invoices();
    expect(others).toEqual([]);
    expect(invoice).toMatchObject({
      state: 'final',
      number: 'INV-000001',
      total: '247.86',
      currency: 'USD',
      finalizedAt: month.afterGrace,
    });
    expect(invoice?.lines.map((line) => [line.description, line.quantity, line.amount])).toEqual([
      ['CPU', '1872', '93.60'],
      ['Memory', '7488', '149.76'],
      ['Disk I/O', '224.64', '2.25'],
      ['Network', '224.64', '2.25'],
    ]);
    expect(invoice?.lines[0]?.regions).toEqual([{ region: 'eu', quantity: '1872' }]);
    expect(await postingsOf(month.store, invoice?.invoiceId)).toEqual([
      { account_id: 'receivable:acme', currency: 'USD', amount: '247.86' },
      { account_id: 'revenue', currency: 'USD', amount: '-247.86' },
    ]);
    const [record] = (await listAudit(month.store.db, undefined, 100)).filter(
      (each) => each.action === 'invoice.finalized',
    );
    expect(record).toMatchObject({
      subject: invoice?.invoiceId,
      detail: expect.stringContaining('"number":"INV-000001"'),
    });
    const stored = await month.store.db.selectFrom('invoices').select('lines_hash').executeTakeFirstOrThrow();
    expect(hashLines(invoice?.lines ?? [], invoice?.taxes ?? []).equals(stored.lines_hash)).toBe(true);
  });

  it('again changes no digit, whatever was used meanwhile', async () => {
    const month = await aMonth('acme', 'bolt');
    month.store.usage.add('acme', month.hour('01T00')).add('bolt', month.hour('28T23'));
    await month.close();
    const first = await month.invoices();
    const records = (await listAudit(month.store.db, undefined, 100)).length;
    expect(await month.close()).toMatchObject({ finals: 0, closed: true });
    month.store.usage.add('acme', month.hour('02T00'));
    await month.close();
    expect(await month.invoices()).toEqual(first);
    expect(await listAudit(month.store.db, undefined, 100)).toHaveLength(records);
  });

  it('eight times at once makes one invoice each, numbered without a gap', async () => {
    const ids = Array.from({ length: 12 }, (_, i) => `many-${i}`);
    const month = await aMonth(...ids);
    for (const id of ids) month.store.usage.add(id, month.hour('03T03'));
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => month.close()));
    expect(outcomes.every((outcome) => outcome.failed === 0 && outcome.drafts === 0 && outcome.closed)).toBe(true);
    const invoices = await month.invoices();
    expect(invoices.map((invoice) => invoice.customerId).toSorted()).toEqual(ids.toSorted());
    const all = await listInvoices(month.store.db, { state: 'final' }, 1000);
    const numbers = all.map((invoice) => invoice.number ?? '').toSorted();
    expect(numbers).toEqual(numbers.map((_, i) => `INV-${String(i + 1).padStart(6, '0')}`));
    const { rows } = await sql<{ sum: string }>`SELECT sum(amount) FROM ledger_postings`.execute(month.store.db);
    expect(rows).toEqual([{ sum: '0.00' }]);
    expect(await month.store.db.selectFrom('ledger_transactions').select('id').execute()).toHaveLength(all.length);
    expect(await verifyAudit(month.store.db)).toMatchObject({ intact: true });
  });

  it('eight times at once within the grace makes one draft each', async () => {
    const month = await aMonth('acme', 'bolt');
    month.store.clock.set(new Date(month.afterGrace.getTime() - 1).toISOString());
    month.store.usage.add('acme', month.hour('03T03')).add('bolt', month.hour('03T03'));
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => month.close()));
    // Those that find another at work leave it to that one.
    expect(outcomes.every((outcome) => outcome.drafts <= 2 && outcome.failed === 0)).toBe(true);
    expect((await month.invoices()).map((invoice) => invoice.total)).toEqual(['0.05', '0.05']);
  });

  it('before it is over is refused, and so is what is no month', async () => {
    const month = await aMonth('acme');
    month.store.clock.set(new Date(month.afterGrace.getTime() - month.store.graceMs - 1).toISOString());
    await expect(month.close()).rejects.toMatchObject({ kind: 'failed_precondition', field: 'period' });
    await expect(closePeriod(month.store, 'May', AbortSignal.timeout(1000))).rejects.toMatchObject({
      kind: 'invalid_argument',
    });
    const one = closeCustomer(month.store, 'acme', month.name, AbortSignal.timeout(10_000));
    await expect(one).rejects.toMatchObject({ kind: 'failed_precondition', field: 'period' });
  });

  it('within the grace makes a draft that each run replaces', async () => {
    const month = await aMonth('acme');
    month.store.clock.set(new Date(month.afterGrace.getTime() - 1).toISOString());
    month.store.usage.add('acme', month.hour('05T05'));
    expect(await month.close()).toMatchObject({ drafts: 1, finals: 0, closed: false });
    const [draft] = await month.invoices();
    const [lastRecord] = await listAudit(month.store.db, undefined, 1);
    await month.close();
    expect(await listAudit(month.store.db, undefined, 1), 'nothing changed, nothing was written').toEqual([lastRecord]);
    expect(draft).toMatchObject({ state: 'draft', number: undefined, total: '0.05', finalizedAt: undefined });
    month.store.usage.add('acme', month.hour('05T06'), { cpuTimeNanos: 9n * CORE_HOUR_NANOS });
    await month.close();
    expect(await month.invoices()).toMatchObject([
      { invoiceId: draft?.invoiceId, total: '0.50', lines: [{ quantity: '10' }] },
    ]);
    expect(await openPeriods(month.store)).toContain(month.name);
    month.store.clock.set(month.afterGrace.toISOString());
    expect(await month.close()).toMatchObject({ drafts: 0, finals: 1, closed: true });
    expect(await month.invoices()).toMatchObject([{ invoiceId: draft?.invoiceId, state: 'final', total: '0.50' }]);
    expect(await openPeriods(month.store)).not.toContain(month.name);
  });

  it('stays a draft while hours wait for the rollup', async () => {
    const month = await aMonth('acme');
    month.store.usage.add('acme', month.hour('05T05')).pending.add('acme');
    expect(await month.close()).toMatchObject({ drafts: 1, finals: 0, closed: false });
    const { pending } = month.store.usage;
    const become = (waits: boolean): void => void (waits ? pending.add('acme') : pending.delete('acme'));
    for (const before of [true, false]) {
      become(before);
      month.store.usage.onRead = () => become(!before);
      const closing = await closeCustomer(month.store, 'acme', month.name, AbortSignal.timeout(10_000));
      expect(closing, `waits before the sums: ${before}; behind: ${!before}`).toMatchObject({ settled: false });
      expect(await month.invoices()).toMatchObject([{ state: 'draft', invoiceId: closing.invoiceId }]);
    }
  });

  it('makes no invoice without usage, and withdraws a draft whose usage is gone', async () => {
    const month = await aMonth('acme', 'idle');
    month.store.usage.add('acme', month.hour('05T05')).pending.add('acme');
    // "Settled" too only once nothing is pending: what idle used may still be on its way.
    expect(await month.close()).toMatchObject({ drafts: 1, closed: false });
    month.store.usage.remove('acme');
    month.store.usage.pending.clear();
    expect(await month.close()).toMatchObject({ finals: 0, drafts: 0, failed: 0, closed: true });
    expect(await month.invoices()).toEqual([]);
    const records = await listAudit(month.store.db, undefined, 1);
    expect(records.map((record) => record.action)).toEqual(['invoice.withdrawn']);
  });

  it('of one customer that fails does not hold up the others', async () => {
    const month = await aMonth('acme', 'bolt', 'cord');
    for (const id of ['acme', 'bolt', 'cord']) month.store.usage.add(id, month.hour('05T05'));
    month.store.usage.onRead = (customerId) => {
      if (customerId === 'bolt') throw new Error('the engine is away');
    };
    const failed = await month.close().catch((reason: unknown) => reason);
    expect(failed).toBeInstanceOf(InvoicesFailed);
    expect(failed).toMatchObject({
      message: `invoices of ${month.name}: 1 failed: "bolt": the engine is away`,
      outcome: { finals: 2, failed: 1, closed: false },
    });
    expect((await month.invoices()).map((invoice) => invoice.customerId).toSorted()).toEqual(['acme', 'cord']);
    month.store.usage.onRead = () => undefined;
    expect(await month.close()).toMatchObject({ finals: 1, failed: 0, closed: true });
  });

  it('ends when it is told to, which is no customer’s failure', async () => {
    // By its id the last one of all, so that nothing but its own failure can end the run.
    const month = await aMonth('~last');
    const stop = new AbortController();
    month.store.usage.onRead = (customerId) => {
      if (customerId !== '~last') return;
      stop.abort(new Error('meterd stops'));
      throw new Error('the query was cancelled');
    };
    await expect(closePeriod(month.store, month.name, stop.signal)).rejects.toThrow(/^meterd stops$/);
  });

  it('ends where an engine is away, which is no customer’s failure either', async () => {
    const month = await aMonth('acme', 'bolt');
    month.store.usage.onRead = () => {
      throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    };
    await expect(month.close()).rejects.toThrow(/^connect ECONNREFUSED$/);
    expect(await listClosings(month.store.db, { period: month.name, failedOnly: true }, undefined, 10)).toEqual([]);
    month.store.usage.onRead = () => undefined;
    expect(await month.close()).toMatchObject({ failed: 0, closed: true });
  });

  it('leaves the month open where somebody subscribes behind the run’s back', async () => {
    const month = await aMonth('acme', 'aaa');
    month.store.usage.add('acme', month.hour('05T05'));
    month.store.usage.onRead = async (customerId) => {
      if (customerId === 'acme') await subscribeToBasic(month.store, 'aa-newcomer');
    };
    expect(await month.close()).toMatchObject({ finals: 1, closed: false });
    expect(await openPeriods(month.store)).toContain(month.name);
    expect(await month.close()).toMatchObject({ finals: 0, closed: true });
  });

  it('splits at a new price, and computes anew where one comes while it is made final', async () => {
    const month = await aMonth('acme');
    month.store.usage.add('acme', month.hour('05T05')).add('acme', month.hour('20T05'));
    const publish = () => {
      const validFrom = new Date(month.hour('20T00'));
      return publishPlan(
        month.store,
        { planId: 'basic', currency: 'USD', rates: { ...RATES, cpuPerCoreHour: 1 }, validFrom },
        ACTOR,
      );
    };
    // Comes between the reading of the prices and the end of the first try.
    month.store.usage.onRead = async (customerId) => {
      if (customerId === 'acme') await publish();
    };
    expect(await month.close()).toMatchObject({ finals: 1 });
    const [invoice] = await month.invoices();
    const split = new Date(month.hour('20T00'));
    expect(invoice?.lines).toMatchObject([
      { start: month.start, end: split, planVersion: 1, amount: '0.05' },
      { start: split, end: invoice?.periodEnd, planVersion: 2, amount: '1.00' },
    ]);
    expect(invoice?.total).toBe('1.05');
  });
});

it('is from the seller who was put while it was made final', async () => {
  const month = await aMonth('acme');
  month.store.usage.add('acme', month.hour('05T05'));
  const seller = { name: 'Cloud AG', addressLines: [], country: 'DE', taxId: 'DE1', email: '', paymentLines: [] };
  // Comes between the reading of the seller and the end of the first try.
  month.store.usage.onRead = async (customerId) => {
    if (customerId === 'acme') await putSeller(month.store, seller, ACTOR);
  };
  expect(await month.close()).toMatchObject({ finals: 1 });
  const [invoice] = await month.invoices();
  expect(await getInvoice(month.store.db, invoice?.invoiceId ?? '')).toMatchObject({ state: 'final', seller });
});

describe('a final invoice', () => {
  it('is never changed, nor are its lines', async () => {
    const month = await aMonth('sealed');
    month.store.usage.add('sealed', month.hour('05T05'));
    await month.close();
    const [invoice] = await month.invoices();
    const id = invoice?.invoiceId ?? '';
    for (const statement of [
      `UPDATE invoices SET total = 0 WHERE id = '${id}'`,
      `UPDATE invoices SET state = 'draft', number = NULL, finalized_at = NULL WHERE id = '${id}'`,
      `DELETE FROM invoices WHERE id = '${id}'`,
      `DELETE FROM invoice_lines WHERE invoice_id = '${id}'`,
      `INSERT INTO invoice_lines SELECT invoice_id, 99, meter, description, unit, quantity, unit_price, amount, starts_at,
         ends_at, plan_id, plan_version, regions FROM invoice_lines WHERE invoice_id = '${id}' LIMIT 1`,
    ]) {
      await expect(sql.raw(statement).execute(month.store.db), statement).rejects.toThrow(
        `invoice ${invoice?.number} is final`,
      );
    }
    const lines = sql.raw(`UPDATE invoice_lines SET amount = 0 WHERE invoice_id = '${id}'`).execute(month.store.db);
    await expect(lines).rejects.toThrow('invoice_lines is append-only');
    const truncated = sql.raw('TRUNCATE invoices CASCADE').execute(month.store.db);
    await expect(truncated).rejects.toThrow('is append-only: TRUNCATE refused');
    expect(await month.invoices()).toEqual([invoice]);
  });

  it('is the sum of its lines, or it is not made', async () => {
    const month = await aMonth('wrong');
    month.store.usage.add('wrong', month.hour('05T05')).pending.add('wrong');
    await month.close();
    const [draft] = await month.invoices();
    const wrong = `UPDATE invoices SET total = total + 1, state = 'final', number = 'X', finalized_at = now() WHERE id = '${draft?.invoiceId}'`;
    await expect(sql.raw(wrong).execute(month.store.db)).rejects.toThrow('is not the sum of its lines');
  });
});

async function postingsOf(store: TestStore, invoiceId: string | undefined) {
  return store.db
    .selectFrom('ledger_postings')
    .innerJoin('ledger_transactions', 'ledger_transactions.id', 'ledger_postings.transaction_id')
    .select(['account_id', 'currency', 'amount'])
    .where('idempotency_key', '=', `invoice ${invoiceId} final`)
    .orderBy('position')
    .execute();
}
