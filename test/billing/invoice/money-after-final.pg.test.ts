import { array, assert, asyncProperty, integer, tuple } from 'fast-check';
import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { verifyAudit } from '../../../src/audit/verify-audit.ts';
import { closePeriod } from '../../../src/billing/invoice/close-period.ts';
import { closeCustomer, listClosings } from '../../../src/billing/invoice/closings.ts';
import { createCreditNote } from '../../../src/billing/invoice/credit-notes.ts';
import { listCreditNotes } from '../../../src/billing/invoice/read-credit-notes.ts';
import type { Invoice } from '../../../src/billing/invoice/invoice.ts';
import { addManualLine, listManualLines, removeManualLine } from '../../../src/billing/invoice/manual-lines.ts';
import { openPeriods } from '../../../src/billing/invoice/open-periods.ts';
import { listPayments, recordPayment, reversePayment } from '../../../src/billing/invoice/payments.ts';
import { dryRunPeriod, previewInvoice } from '../../../src/billing/invoice/preview.ts';
import { getInvoice, listInvoices } from '../../../src/billing/invoice/read-invoices.ts';
import { reissueInvoice } from '../../../src/billing/invoice/reissue.ts';
import { voidInvoice } from '../../../src/billing/invoice/void-invoice.ts';
import { balances } from '../../../src/billing/ledger/read-ledger.ts';
import { postgresForTest } from '../../database.ts';
import { ACTOR, aStore, CORE_HOUR_NANOS, subscribeToBasic, type TestStore } from '../a-store.ts';

const postgres = await postgresForTest();
const SOON = () => AbortSignal.timeout(20_000);
let customers = 0;

/** A customer with a final invoice over so many core-hours of September at 0.05. */
async function aFinal(coreHours: bigint): Promise<{ store: TestStore; invoice: Invoice; customerId: string }> {
  const store = aStore(postgres);
  const customerId = `customer-${++customers}`;
  await subscribeToBasic(store, customerId);
  store.usage.add(customerId, '2026-09-05T10:00:00Z', { cpuTimeNanos: coreHours * CORE_HOUR_NANOS });
  const { invoiceId } = await closeCustomer(store, customerId, '2026-09', SOON());
  return { store, customerId, invoice: await getInvoice(store.db, invoiceId ?? '') };
}

function pay(store: TestStore, invoiceId: string, amount: string, idempotencyKey: string = `${invoiceId} ${amount}`) {
  const paidAt = new Date('2026-10-11T00:00:00Z');
  return recordPayment(store, { idempotencyKey, invoiceId, amount, paidAt, method: 'bank', reference: 'r' }, ACTOR);
}

async function owed(store: TestStore, customerId: string): Promise<string | undefined> {
  const [balance] = await balances(store.db, `receivable:${customerId}`, undefined, 10);
  return balance?.amount;
}

/** Of an amount with two decimals, or of none at all. */
function centsOf(amount: string | undefined): bigint {
  const text = amount ?? '0.00';
  expect(text).toMatch(/^-?\d+\.\d\d$/);
  return BigInt(text.replace('.', ''));
}

describe('payments', () => {
  it('make an invoice paid once nothing is due, and final again where one is taken back', async () => {
    const { store, invoice, customerId } = await aFinal(2000n);
    expect(invoice).toMatchObject({ total: '100.00', state: 'final', amountDue: '100.00' });
    expect(invoice.dueAt?.getTime()).toBe((invoice.finalizedAt?.getTime() ?? 0) + 30 * 86_400_000);
    const first = await pay(store, invoice.invoiceId, '40');
    expect(await pay(store, invoice.invoiceId, '40'), 'the same key again').toEqual(first);
    await expect(pay(store, invoice.invoiceId, '60.01')).rejects.toMatchObject({ kind: 'failed_precondition' });
    await expect(pay(store, invoice.invoiceId, '0.001')).rejects.toMatchObject({ kind: 'invalid_argument' });
    await pay(store, invoice.number ?? '', '60.00');
    expect(await getInvoice(store.db, invoice.invoiceId)).toMatchObject({ state: 'paid', amountDue: '0.00' });
    const back = { paymentId: first.paymentId, reversedAt: new Date('2026-10-12T00:00:00Z'), reason: 'returned' };
    const reversal = await reversePayment(store, back, ACTOR);
    expect(await reversePayment(store, back, ACTOR)).toEqual(reversal);
    const again = await getInvoice(store.db, invoice.invoiceId);
    expect(again).toMatchObject({ state: 'final', amountPaid: '60.00', amountDue: '40.00' });
    expect(await owed(store, customerId)).toBe('40.00');
    expect(await listPayments(store, invoice.invoiceId, undefined, 10)).toHaveLength(3);
    await expect(reversePayment(store, { ...back, paymentId: reversal.paymentId }, ACTOR)).rejects.toThrow('reversal');
  });
});

describe('a payment that is taken back', () => {
  it('is so once, though two ask at once, and though its invoice is void by the time that one asks again', async () => {
    const { store, invoice, customerId } = await aFinal(2000n);
    const { paymentId } = await pay(store, invoice.invoiceId, '40');
    const request = { paymentId, reversedAt: new Date('2026-10-12T00:00:00Z'), reason: 'returned' };
    const both = await Promise.all([1, 2].map(() => reversePayment(store, request, ACTOR)));
    expect(both[1]).toEqual(both[0]);
    await voidInvoice(store, { invoiceId: invoice.invoiceId, reason: 'wrong' }, ACTOR);
    expect(await reversePayment(store, request, ACTOR)).toEqual(both[0]);
    expect(centsOf(await owed(store, customerId))).toBe(0n);
  });
});

describe('credit notes', () => {
  it('of random parts never pass what is left, and add up to the whole', async () => {
    await assert(
      asyncProperty(array(integer({ min: 1, max: 6000 }), { maxLength: 6 }), async (cents) => {
        const { store, invoice, customerId } = await aFinal(2000n);
        let left = 10_000n;
        for (const [index, part] of cents.entries()) {
          const lines = [
            { invoiceLine: 1, amount: `${Math.floor(part / 100)}.${String(part % 100).padStart(2, '0')}` },
          ];
          const request = {
            idempotencyKey: `${customerId} ${index}`,
            invoiceId: invoice.invoiceId,
            reason: 'r',
            lines,
          };
          const made = createCreditNote(store, request, ACTOR);
          if (BigInt(part) > left) await expect(made).rejects.toMatchObject({ kind: 'failed_precondition' });
          else left -= centsOf((await made).total);
        }
        if (left > 0n) {
          const rest = { idempotencyKey: `${customerId} rest`, invoiceId: invoice.invoiceId, reason: 'r', lines: [] };
          const note = await createCreditNote(store, rest, ACTOR);
          expect(centsOf(note.total)).toBe(left);
          expect(await createCreditNote(store, rest, ACTOR)).toEqual(note);
        }
        const after = await getInvoice(store.db, invoice.invoiceId);
        expect(after).toMatchObject({ amountCredited: '100.00', amountDue: '0.00', state: 'paid' });
        expect(centsOf(await owed(store, customerId))).toBe(0n);
      }),
      { numRuns: 15 },
    );
    const notes = await listCreditNotes(postgres.db, {}, 1000);
    const numbers = notes.map((note) => note.number).toSorted();
    expect(numbers).toEqual(numbers.map((_, i) => `CN-${String(i + 1).padStart(6, '0')}`));
  });
});

describe('a void invoice', () => {
  it('leaves nothing in the books, and its period open', async () => {
    const { store, invoice, customerId } = await aFinal(20n);
    const request = { invoiceId: invoice.invoiceId, reason: 'wrong customer' };
    const voided = await voidInvoice(store, request, ACTOR);
    expect(voided).toMatchObject({ state: 'void', number: invoice.number, voidReason: 'wrong customer' });
    expect(await voidInvoice(store, request, ACTOR)).toEqual(voided);
    const other = await aFinal(2000n);
    const twice = { invoiceId: other.invoice.invoiceId, reason: 'clicked twice' };
    const both = await Promise.all([1, 2].map(() => voidInvoice(store, twice, ACTOR)));
    expect(both.map(({ state, voidReason }) => [state, voidReason])).toEqual(both.map(() => ['void', twice.reason]));
    expect(centsOf(await owed(store, customerId))).toBe(0n);
    expect(await openPeriods(store)).toContain('2026-09');
    const closing = await closeCustomer(store, customerId, '2026-09', SOON());
    expect(closing.settled).toBe(true);
    expect(await getInvoice(store.db, closing.invoiceId ?? '')).toMatchObject({ total: '1.00', state: 'final' });
  });

  it('is refused where something was paid or credited', async () => {
    const { store, invoice } = await aFinal(20n);
    await pay(store, invoice.invoiceId, '0.01');
    const refused = voidInvoice(store, { invoiceId: invoice.invoiceId, reason: 'r' }, ACTOR);
    await expect(refused).rejects.toMatchObject({ kind: 'failed_precondition', field: 'invoice_id' });
  });

  it('is issued anew in one step, with what is known now', async () => {
    const { store, invoice, customerId } = await aFinal(20n);
    store.usage.add(customerId, '2026-09-06T10:00:00Z', { cpuTimeNanos: 20n * CORE_HOUR_NANOS });
    const request = { invoiceId: invoice.invoiceId, reason: 'late' };
    const both = await reissueInvoice(store, request, ACTOR, SOON());
    expect(both.voided.state).toBe('void');
    expect(both.invoice).toMatchObject({ state: 'final', total: '2.00', replacesInvoiceId: invoice.invoiceId });
    expect((await reissueInvoice(store, request, ACTOR, SOON())).invoice).toEqual(both.invoice);
    expect(await owed(store, customerId)).toBe('2.00');
    store.usage.pending.add(customerId);
    const waits = reissueInvoice(store, { ...request, invoiceId: both.invoice.invoiceId }, ACTOR, SOON());
    await expect(waits).rejects.toMatchObject({ kind: 'failed_precondition' });
    expect(await getInvoice(store.db, both.invoice.invoiceId)).toEqual(both.invoice);
  });

  it('is issued anew once, and with what changed while usage was read, which holds nobody up', async () => {
    const { store, invoice, customerId } = await aFinal(20n);
    const line = { customerId, description: 'Set-up', quantity: '1', unit: '', unitPrice: '5', taxable: true };
    const at = new Date('2026-09-20T00:00:00Z');
    let adding: Promise<unknown> | undefined;
    // It waits for the lock that the re-issue's transaction takes; both read on once it is there.
    store.usage.onRead = async () => {
      adding ??= addManualLine(store, { ...line, at, idempotencyKey: `${customerId} meanwhile` }, ACTOR);
      await adding;
    };
    const request = { invoiceId: invoice.invoiceId, reason: 'twice at once' };
    const [a, b] = await Promise.all([1, 2].map(() => reissueInvoice(store, request, ACTOR, SOON())));
    expect(a?.invoice).toMatchObject({ total: '6.00', replacesInvoiceId: invoice.invoiceId });
    expect(b).toEqual(a);
    expect(await owed(store, customerId)).toBe('6.00');
  });

  it('is issued anew once where another call did so before anything was read', async () => {
    const { store, invoice } = await aFinal(20n);
    const again = () => reissueInvoice(store, { invoiceId: invoice.invoiceId, reason: 'twice' }, ACTOR, SOON());
    const others: ReturnType<typeof again>[] = [];
    const { usage } = store;
    const pendingCustomers = usage.pendingCustomers.bind(usage);
    usage.pendingCustomers = async (requests) => {
      if (others.length === 0) await others[others.push(again()) - 1];
      return pendingCustomers(requests);
    };
    expect(await again()).toEqual(await others[0]);
  });
});

describe('adjustments', () => {
  it('bring the sum of all invoices to what would be billed now, and a second closing adjusts nothing', async () => {
    const hours = array(tuple(integer({ min: 0, max: 3 }), integer({ min: 1, max: 500 })), {
      maxLength: 8,
    });
    await assert(
      asyncProperty(hours, async (late) => {
        const store = aStore(postgres);
        const customerId = `customer-${++customers}`;
        await subscribeToBasic(store, customerId);
        const billed = ['2026-06', '2026-07', '2026-08', '2026-09'];
        const used = billed.map(() => 0);
        for (const [index, name] of billed.entries()) {
          // Whatever came late for any month before this one closes.
          for (const [month, coreHours] of late.filter((_, i) => i % billed.length === index)) {
            const day = String(1 + index * 7 + 1).padStart(2, '0');
            const month2 = billed[Math.min(month, index)] ?? name;
            used[billed.indexOf(month2)] = (used[billed.indexOf(month2)] ?? 0) + coreHours;
            const usage = { cpuTimeNanos: BigInt(coreHours) * CORE_HOUR_NANOS };
            store.usage.add(customerId, `${month2}-${day}T00:00:00Z`, usage);
          }
          await closeCustomer(store, customerId, name, SOON());
        }
        await closeCustomer(store, customerId, '2026-09', SOON());
        const invoices = await listInvoices(store.db, { customerId }, 100);
        const cents = invoices.reduce((sum, invoice) => sum + centsOf(invoice.total), 0n);
        expect(cents).toBe(used.reduce((sum, coreHours) => sum + BigInt(coreHours) * 5n, 0n));
        expect(centsOf(await owed(store, customerId))).toBe(cents);
      }),
      { numRuns: 20 },
    );
  });

  it('name the period and the invoice that they correct, and keep it from being voided', async () => {
    const { store, invoice, customerId } = await aFinal(20n);
    store.usage.add(customerId, '2026-09-07T00:00:00Z', { cpuTimeNanos: 4n * CORE_HOUR_NANOS, region: 'us' });
    store.usage.add(customerId, '2026-10-07T00:00:00Z');
    store.clock.set('2026-11-03T00:00:00Z');
    const { invoiceId } = await closeCustomer(store, customerId, '2026-10', SOON());
    const next = await getInvoice(store.db, invoiceId ?? '');
    expect(
      next.lines.map((line) => [line.kind, line.chargeId, line.quantity, line.amount, line.adjustsInvoiceId]),
    ).toEqual([
      ['usage', 'cpu', '1', '0.05', undefined],
      ['adjustment', 'usage/cpu', '4', '0.20', invoice.invoiceId],
    ]);
    expect(next.lines[1]).toMatchObject({ start: invoice.periodStart, end: invoice.periodEnd });
    const refused = voidInvoice(store, { invoiceId: invoice.invoiceId, reason: 'r' }, ACTOR);
    await expect(refused).rejects.toThrow(`invoice ${next.number} has adjustments of it`);
    store.clock.set('2026-12-03T00:00:00Z');
    expect((await closeCustomer(store, customerId, '2026-11', SOON())).invoiceId).toBeUndefined();
  });
});

describe('manual lines', () => {
  it('are on the invoice of their period or the next that is not final, once', async () => {
    const { store, customerId } = await aFinal(20n);
    const line = { customerId, description: 'Set-up', quantity: '2', unit: '', unitPrice: '10.5', taxable: true };
    const request = { idempotencyKey: `${customerId} line`, ...line, at: new Date('2026-09-20T00:00:00Z') };
    const added = await addManualLine(store, request, ACTOR);
    expect(await addManualLine(store, request, ACTOR)).toEqual(added);
    const gone = await addManualLine(store, { ...request, idempotencyKey: `${customerId} gone` }, ACTOR);
    await removeManualLine(store, gone.manualLineId, ACTOR);
    expect(await listManualLines(store.db, customerId, undefined, 10)).toEqual([{ ...added, quantity: '2' }]);
    store.clock.set('2026-11-03T00:00:00Z');
    const { invoiceId } = await closeCustomer(store, customerId, '2026-10', SOON());
    const invoice = await getInvoice(store.db, invoiceId ?? '');
    expect(invoice).toMatchObject({ total: '21.00', lines: [{ kind: 'manual', manualLineId: added.manualLineId }] });
    expect(await listManualLines(store.db, customerId, undefined, 10)).toEqual([]);
    await expect(removeManualLine(store, added.manualLineId, ACTOR)).rejects.toMatchObject({
      kind: 'failed_precondition',
    });
    store.clock.set('2026-12-03T00:00:00Z');
    expect((await closeCustomer(store, customerId, '2026-11', SOON())).invoiceId).toBeUndefined();
  });
});

describe('closings', () => {
  it('tell who failed and why, and a retry of that one settles it', async () => {
    const store = aStore(postgres);
    await subscribeToBasic(store, 'good-one', 'sad-one');
    for (const id of ['good-one', 'sad-one']) store.usage.add(id, '2026-08-05T00:00:00Z');
    store.usage.onRead = (id) => {
      if (id === 'sad-one') throw new Error('no rate');
    };
    await expect(closePeriod(store, '2026-08', SOON())).rejects.toThrow('"sad-one": no rate');
    const failed = await listClosings(store.db, { failedOnly: true, customerId: 'sad-one' }, undefined, 10);
    expect(failed).toMatchObject([{ period: '2026-08', failures: 1, failure: 'no rate', settled: false }]);
    expect((await closeCustomer(store, 'sad-one', '2026-08', SOON())).failures).toBe(2);
    store.usage.onRead = () => undefined;
    const retried = await closeCustomer(store, 'sad-one', '2026-08', SOON());
    expect(retried).toMatchObject({ settled: true, failures: 0, failure: '', failedAt: undefined });
  });
});

describe('a preview and a dry run', () => {
  it('write nothing in any table', async () => {
    const { store, customerId } = await aFinal(20n);
    store.usage.add(customerId, '2026-10-05T00:00:00Z');
    const before = await rowCounts();
    const { invoice, asOf } = await previewInvoice(store, customerId, '', SOON());
    expect(invoice).toMatchObject({ total: '0.05', period: '2026-10', state: 'draft', invoiceId: '' });
    expect(asOf).toEqual(new Date('2026-10-11T00:00:00Z'));
    const [outcome] = await dryRunPeriod(store, '2026-10', previous(customerId), 1, SOON());
    expect(outcome).toMatchObject({ customerId, lines: 1, problem: expect.stringContaining('the grace lasts until') });
    expect(await rowCounts()).toEqual(before);
    // What is settled is nothing to do any more.
    const settled = await dryRunPeriod(store, '2026-09', previous(customerId), 1, SOON());
    expect(settled.filter((each) => each.customerId === customerId)).toEqual([]);
  });
});

/** Just before it in order. */
function previous(customerId: string): string {
  return `${customerId.slice(0, -1)}${String.fromCharCode(customerId.charCodeAt(customerId.length - 1) - 1)}~`;
}

async function rowCounts(): Promise<Record<string, string>> {
  const { rows: tables } = await sql<{ name: string }>`SELECT relname AS name FROM pg_stat_user_tables`.execute(
    postgres.db,
  );
  const counts: Record<string, string> = {};
  for (const { name } of tables) {
    const { rows } = await sql<{ count: string }>`SELECT count(*) FROM ${sql.table(name)}`.execute(postgres.db);
    counts[name] = rows[0]?.count ?? '';
  }
  return counts;
}

describe('the books', () => {
  it('balance after all of this, and the audit trail is intact', async () => {
    const { rows } = await sql<{ sum: string }>`SELECT sum(amount) FROM ledger_postings`.execute(postgres.db);
    expect(Number(rows[0]?.sum)).toBe(0);
    const invoices = await listInvoices(postgres.db, {}, 1000);
    const numbers = invoices.flatMap(({ number }) => number ?? []).toSorted();
    expect(numbers).toEqual(numbers.map((_, i) => `INV-${String(i + 1).padStart(6, '0')}`));
    expect(await verifyAudit(postgres.db)).toMatchObject({ intact: true });
  });
});
