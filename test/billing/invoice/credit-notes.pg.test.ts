import { array, assert, asyncProperty, constantFrom, integer, record, tuple } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BillingDetails, NO_DETAILS } from '../../../src/billing/billing-details.ts';
import { createCustomer } from '../../../src/billing/customers.ts';
import { closeCustomer } from '../../../src/billing/invoice/closings.ts';
import { createCreditNote } from '../../../src/billing/invoice/credit-notes.ts';
import { type CreditNote, getCreditNote } from '../../../src/billing/invoice/read-credit-notes.ts';
import type { Invoice } from '../../../src/billing/invoice/invoice.ts';
import { addManualLine } from '../../../src/billing/invoice/manual-lines.ts';
import { getInvoice } from '../../../src/billing/invoice/read-invoices.ts';
import { balances } from '../../../src/billing/ledger/read-ledger.ts';
import { formatDecimal, parseDecimal, type Decimal } from '../../../src/billing/money.ts';
import { subscribe } from '../../../src/billing/plans/subscribe.ts';
import { putTaxRate } from '../../../src/billing/rates/tax-rates.ts';
import { postgresForTest } from '../../database.ts';
import { ACTOR, aStore, publishContent } from '../a-store.ts';
import { aContent } from '../plans/a-content.ts';

const postgres = await postgresForTest();
const store = aStore(postgres);
const START = new Date('2026-01-01T00:00:00Z');
const AT = new Date('2026-09-05T00:00:00Z');
let made = 0;

await publishContent(store, { planId: 'basic', currency: 'EUR', content: aContent() });

type Treatment = 'exclusive' | 'inclusive' | 'reverse charge' | 'exempt';

function detailsOf(treatment: Treatment, taxRegion: string): BillingDetails {
  switch (treatment) {
    case 'exclusive':
      return { ...NO_DETAILS, taxRegion };
    case 'inclusive':
      return { ...NO_DETAILS, taxRegion, pricesIncludeTax: true };
    case 'reverse charge':
      return { ...NO_DETAILS, taxTreatment: 'reverse_charge', taxId: 'ATU1' };
    case 'exempt':
      return { ...NO_DETAILS, taxTreatment: 'exempt', taxExemptReason: 'a charity' };
  }
}

interface Billed {
  readonly invoice: Invoice;
  readonly customerId: string;
  readonly taxRegion: string;
}

/** A final invoice of manual lines alone, in a tax region of its own with two taxes. */
async function anInvoice(treatment: Treatment, lines: readonly { cents: number; taxable: boolean }[]): Promise<Billed> {
  const customerId = `customer-${++made}`;
  const taxRegion = `region-${made}`;
  for (const [name, percent] of [
    ['GST', '5'],
    ['QST', '9.975'],
  ] as const) {
    await putTaxRate(store, { region: taxRegion, name, percent, validFrom: START }, ACTOR);
  }
  const details = detailsOf(treatment, taxRegion);
  await createCustomer(store, { customerId, name: customerId, currency: 'EUR', details }, ACTOR);
  await subscribe(store, { customerId, planId: 'basic', startsAt: new Date('2026-09-01T00:00:00Z') }, ACTOR);
  for (const [index, { cents, taxable }] of lines.entries()) {
    const line = {
      customerId,
      description: 'Work',
      quantity: '1',
      unit: '',
      unitPrice: textOf(BigInt(cents)),
      at: AT,
      taxable,
    };
    await addManualLine(store, { ...line, idempotencyKey: `${customerId} ${index}` }, ACTOR);
  }
  const { invoiceId } = await closeCustomer(store, customerId, '2026-09', AbortSignal.timeout(20_000));
  return { invoice: await getInvoice(store.db, invoiceId ?? ''), customerId, taxRegion };
}

function textOf(cents: bigint): string {
  return formatDecimal({ units: cents, scale: 2 });
}

function centsOf(amount: string | undefined): bigint {
  const { units, scale }: Decimal = parseDecimal(amount ?? '0', 'amount');
  return units * 10n ** BigInt(2 - scale);
}

function sum(amounts: readonly (string | undefined)[]): bigint {
  return amounts.reduce((total, each) => total + centsOf(each), 0n);
}

let keys = 0;
function credit({ invoice }: Billed, ...lines: (readonly [line: number, amount: string])[]): Promise<CreditNote> {
  const asked = lines.map(([invoiceLine, amount]) => ({ invoiceLine, amount }));
  const request = { idempotencyKey: `key ${++keys}`, invoiceId: invoice.invoiceId, reason: 'r', lines: asked };
  return createCreditNote(store, request, ACTOR);
}

async function balanceOf(account: string): Promise<bigint> {
  const found = await balances(store.db, account, undefined, 10);
  return sum(found.map(({ amount }) => amount));
}

describe('a credit note over a taxed invoice', () => {
  const lines = [
    { cents: 10_005, taxable: true },
    { cents: 2000, taxable: false },
  ];

  it.each<[Treatment, string[], string[], string[]]>([
    // Each: net, tax, total of the invoice; of a credit of 50.05 of the taxed line; of all that is left.
    ['exclusive', ['120.05', '14.98', '135.03'], ['50.05', '7.49', '57.54'], ['70.00', '7.49', '77.49']],
    ['inclusive', ['107.02', '13.03', '120.05'], ['43.53', '6.52', '50.05'], ['63.49', '6.51', '70.00']],
    ['reverse charge', ['120.05', '0.00', '120.05'], ['50.05', '0.00', '50.05'], ['70.00', '0.00', '70.00']],
    ['exempt', ['120.05', '0.00', '120.05'], ['50.05', '0.00', '50.05'], ['70.00', '0.00', '70.00']],
  ])('%s: takes taxes back in proportion, the last one what is left', async (treatment, whole, part, rest) => {
    const billed = await anInvoice(treatment, lines);
    const amounts = ({ net, tax, total }: Invoice | CreditNote): string[] => [net, tax, total];
    expect(amounts(billed.invoice)).toEqual(whole);
    const first = await credit(billed, [1, '50.05']);
    expect(amounts(first)).toEqual(part);
    expect(await getCreditNote(store.db, first.creditNoteId)).toEqual(first);
    const last = await credit(billed);
    expect(amounts(last)).toEqual(rest);
    expect(last.lines.map(({ invoiceLine, amount }) => [invoiceLine, amount])).toEqual([
      [1, '50.00'],
      [2, '20.00'],
    ]);
    expect(first.taxes.map(({ name, note }) => [name, note])).toEqual(
      billed.invoice.taxes.map(({ name, note }) => [name, note]),
    );
    await expect(credit(billed)).rejects.toMatchObject({ kind: 'failed_precondition' });
  });

  it('has taxes on what the taxes leave of the prices that have them in', async () => {
    const billed = await anInvoice('inclusive', [{ cents: 1000, taxable: true }]);
    const { net, taxes } = await credit(billed, [1, '5.00']);
    expect([net, ...taxes.map(({ base, amount }) => [base, amount])]).toEqual([
      '4.34',
      ['4.34', '0.22'],
      ['4.34', '0.44'],
    ]);
    const rest = await credit(billed);
    expect([rest.net, ...rest.taxes.map(({ base, amount }) => [base, amount])]).toEqual([
      '4.36',
      ['4.36', '0.21'],
      ['4.36', '0.43'],
    ]);
  });

  it('of whatever parts, adds up to the invoice: line by line, tax by tax, and in the books', async () => {
    const aLine = record({ cents: integer({ min: -3000, max: 20_000 }), taxable: constantFrom(true, true, false) });
    const given = tuple(
      constantFrom<Treatment>('exclusive', 'inclusive', 'reverse charge', 'exempt'),
      array(aLine, { minLength: 1, maxLength: 4 }),
      array(tuple(integer({ min: 1, max: 4 }), integer({ min: 1, max: 9999 })), { maxLength: 5 }),
    );
    await assert(
      asyncProperty(given, async ([treatment, wanted, parts]) => {
        const own = wanted.filter((line) => line.cents !== 0);
        const billed = await anInvoice(treatment, [...own, { cents: 30_000, taxable: true }]);
        const { invoice, customerId, taxRegion } = billed;
        const notes: CreditNote[] = [];
        for (const [line, share] of parts) {
          const amount = (centsOf(invoice.lines[line - 1]?.amount) * BigInt(share)) / 10_000n;
          if (amount === 0n) continue;
          const note = await credit(billed, [line, textOf(amount)]).catch(refused);
          if (note !== undefined) notes.push(note);
        }
        const rest = await credit(billed).catch(refused);
        if (rest !== undefined) notes.push(rest);
        for (const note of notes) checkSums(note, invoice);
        const credited = await getInvoice(store.db, invoice.invoiceId);
        expect(credited).toMatchObject({ amountCredited: invoice.total, amountDue: '0.00', state: 'paid' });
        for (const [index, tax] of invoice.taxes.entries()) {
          const shares = notes.map((note) => note.taxes[index]);
          expect(sum(shares.map((share) => share?.amount)), tax.name).toBe(centsOf(tax.amount));
          expect(sum(shares.map((share) => share?.base)), tax.name).toBe(centsOf(tax.base));
        }
        expect(sum(notes.map(({ net }) => net))).toBe(centsOf(invoice.net));
        expect(await balanceOf(`receivable:${customerId}`)).toBe(0n);
        expect(await balanceOf(`tax:${taxRegion}:`)).toBe(0n);
      }),
      { numRuns: 20 },
    );
  });
});

function checkSums(note: CreditNote, { lines, pricesIncludeTax }: Invoice): void {
  const [ofLines, tax] = [sum(note.lines.map(({ amount }) => amount)), sum(note.taxes.map(({ amount }) => amount))];
  expect(centsOf(note.tax)).toBe(tax);
  expect(centsOf(note.total)).toBe(pricesIncludeTax ? ofLines : ofLines + tax);
  expect(centsOf(note.net) + tax).toBe(centsOf(note.total));
  // Of the net, what is not taxed and what its taxes are on.
  const untaxed = note.lines.filter(({ invoiceLine }) => lines[invoiceLine - 1]?.taxable === false);
  const base = centsOf(note.net) - sum(untaxed.map(({ amount }) => amount));
  if (lines.some(({ taxable }) => taxable))
    expect(note.taxes.map((each) => centsOf(each.base))).toEqual(note.taxes.map(() => base));
}

function refused(reason: unknown): undefined {
  expect(reason).toMatchObject({ kind: 'failed_precondition' });
}
