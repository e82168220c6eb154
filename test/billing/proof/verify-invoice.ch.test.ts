import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { anchorHead } from '../../../src/audit/anchors.ts';
import { encodeInput } from '../../../src/billing/invoice/input-text.ts';
import type { MeasuredPlanSpan } from '../../../src/billing/invoice/invoice-input.ts';
import { voidInvoice } from '../../../src/billing/invoice/void-invoice.ts';
import { type Proof, verifyInvoice } from '../../../src/billing/proof/verify-invoice.ts';
import { CallerFault, NotNow } from '../../../src/lib/failure.ts';
import { clickHouseForTest, postgresForTest } from '../../database.ts';
import { anInput, prepare, SetUsage, usageOf, writeInvoice } from './a-final-invoice.ts';

const { db } = await postgresForTest();
const { client: clickhouse } = await clickHouseForTest();
const NOW_MS = Date.parse('2026-10-02T12:00:00Z');
const clock = { nowMs: () => NOW_MS, nowNanos: () => BigInt(NOW_MS) * 1_000_000n };
const signal = new AbortController().signal;
const store = { db, clickhouse, clock, usage: new SetUsage() };

await prepare(store);
const invoiceId = await writeInvoice(store, anInput());
// Something that is written later: the tail behind the invoice's record.
const draftId = await writeInvoice(store, anInput({ period: { ...anInput().next.period } }), false);
await anchorHead(store, signal);

/** The step at which the proof fails, and why; "proved" where it does not. */
function verdictOf({ proved, steps }: Proof): string {
  const last = steps.at(-1);
  return proved || last === undefined ? 'proved' : `${last.name}: ${last.detail}`;
}

/** As an owner of the database could, who takes the guards away. Rolled back. */
async function tampered(statement: string, usage = store.usage): Promise<string> {
  const transaction = await db.startTransaction().execute();
  try {
    const tables = ['invoices', 'invoice_lines', 'invoice_taxes', 'plan_versions', 'ledger_postings', 'audit_records'];
    for (const table of [...tables, 'audit_head', 'customers']) {
      await sql`ALTER TABLE ${sql.table(table)} DISABLE TRIGGER USER`.execute(transaction);
    }
    const changed = await sql.raw(statement).execute(transaction);
    expect(changed.numAffectedRows, statement).toBeGreaterThan(0n);
    return verdictOf(await verifyInvoice({ ...store, usage, db: transaction }, invoiceId, signal));
  } finally {
    await transaction.rollback().execute();
  }
}

function withUsage(change: Partial<SetUsage>): SetUsage {
  return Object.assign(new SetUsage(), change);
}

async function verifyWith(change: Partial<SetUsage>): Promise<Proof> {
  return verifyInvoice({ ...store, usage: withUsage(change) }, invoiceId, signal);
}

/** Statements with an input in them are long. */
const titled = ([statement = '', problem = '']: string[]) => [statement.slice(0, 100), statement, problem] as const;
const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;
/** An input with its hash, as somebody would put it there who knows how. */
function forged(change: Parameters<typeof anInput>[0]): string {
  const input = encodeInput(anInput(change));
  const hash = createHash('sha256').update(input).digest('hex');
  return `UPDATE invoices SET input = ${text(input)}, input_hash = '\\x${hash}' WHERE number IS NOT NULL`;
}

const HALF = new Date('2026-09-16T00:00:00Z');
/** The first half of the span, with one charge only. */
function firstHalf(span: MeasuredPlanSpan): MeasuredPlanSpan {
  return { ...span, end: HALF, content: { ...span.content, charges: span.content.charges.slice(0, 1) } };
}

describe('the proof of an invoice', () => {
  it('holds at every step, by id and by number', async () => {
    const proof = await verifyInvoice(store, invoiceId, signal);
    expect(verdictOf(proof)).toBe('proved');
    expect(proof.steps.map((step) => step.name)).toEqual(['input', 'windows', 'hours', 'lines', 'ledger', 'audit']);
    expect(proof.steps.at(3)?.detail).toBe('1 lines come to 111.38 EUR, as stored');
    expect(await verifyInvoice(store, 'INV-000001', signal)).toEqual(proof);
  });

  it.each(
    [
      [`UPDATE invoices SET input = replace(input, '0.05', '0.06')`, 'input: the stored input has the hash'],
      [`UPDATE invoices SET input_hash = sha256('x')`, 'input: the stored input has the hash'],
      [
        `UPDATE invoices SET input = 'x', input_hash = sha256('x')`,
        'input: the stored input is none that an invoice was computed from',
      ],
      [forged({ customerId: 'other' }), 'input: customer: the invoice says acme, its input other'],
      [`UPDATE invoices SET currency = 'USD'`, 'input: currency: the invoice says USD, its input EUR'],
      [
        `UPDATE plan_versions SET content = jsonb_set(content, '{charges,0,model,price}', '"0.06"')`,
        'input: plan "basic" version 1 is not what was published',
      ],
      [
        forged({ spans: anInput().spans.map((span) => ({ ...span, planVersion: 2 })) }),
        'input: plan "basic" version 2 was never published',
      ],
      [
        // Two spans of one version, of which the first is another price's.
        forged({ spans: anInput().spans.flatMap((span) => [firstHalf(span), { ...span, start: HALF }]) }),
        'input: plan "basic" version 1 is not what was published',
      ],
      [
        forged({ spans: anInput().spans.map((span) => ({ ...span, usage: usageOf(2000n) })) }),
        'hours: region "eu" from 2026-09-01T00:00:00.000Z to 2026-10-01T00:00:00.000Z: observed cpuTimeNanos is',
      ],
      [
        forged({ adjustments: [], discounts: [], tax: { treatment: 'exempt', note: 'none' } }),
        'lines: tax 1: name is stored as "VAT"',
      ],
      [`UPDATE invoice_lines SET amount = 93.61`, 'lines: line 1: amount is stored as "93.61", computed as "93.60"'],
      [
        `UPDATE invoice_lines SET description = 'GPU'`,
        'lines: line 1: description is stored as "GPU", computed as "CPU"',
      ],
      [
        `UPDATE invoice_lines SET regions = '[{"region": "us", "quantity": "1872"}]'`,
        'lines: line 1: regions is stored as',
      ],
      [`DELETE FROM invoice_lines`, 'lines: 0 line rows are stored, 1 were computed'],
      [`UPDATE invoice_taxes SET amount = 17.77`, 'lines: tax 1: amount is stored as "17.77", computed as "17.78"'],
      [`UPDATE invoices SET total = 111.39`, 'lines: total: net is stored as "93.61", computed as "93.60"'],
      [`UPDATE invoices SET lines_hash = sha256('x')`, 'lines: the lines have the hash'],
      [
        `UPDATE ledger_postings SET amount = amount * 2`,
        `ledger: "invoice ${invoiceId} final", posting 1: receivable:acme 222.76 EUR is stored, the totals say receivable:acme 111.38 EUR`,
      ],
      [
        `DELETE FROM ledger_postings WHERE position = 3`,
        'posting 3: nothing is stored, the totals say tax:DE:VAT -17.78 EUR',
      ],
      [`UPDATE ledger_postings SET account_id = 'revenue' WHERE position = 3`, 'ledger: "invoice'],
    ].map(titled),
  )('names what differs after %s', async (_, statement, problem) => {
    expect(await tampered(statement)).toContain(problem);
  });

  it.each(
    [
      [
        `UPDATE audit_records SET actor = 'x' WHERE action = 'invoice.finalized'`,
        'the record is not the one that was hashed',
      ],
      [
        `UPDATE audit_records SET detail = replace(detail, 'INV-000001', 'INV-000002') WHERE action = 'invoice.finalized'`,
        'the record is not the one that was hashed',
      ],
      [`DELETE FROM audit_records WHERE action = 'invoice.finalized'`, 'there is no audit record of the invoice'],
      ['DELETE FROM audit_records WHERE sequence = (SELECT max(sequence) FROM audit_records)', 'the tail is cut'],
      [`UPDATE audit_head SET hash = sha256('x')`, 'the record is not the one that the head of the trail names'],
      [
        `WITH cut AS (DELETE FROM audit_records WHERE sequence = (SELECT max(sequence) FROM audit_records) RETURNING *)
      UPDATE audit_head SET sequence = cut.sequence - 1, hash = cut.previous_hash FROM cut`,
        'was anchored',
      ],
    ].map(titled),
  )('names the audit trail after %s', async (_, statement, problem) => {
    const verdict = await tampered(statement);
    expect(verdict).toMatch(/^audit: /);
    expect(verdict).toContain(problem);
  });

  it('names windows and hours that differ', async () => {
    const changedWindow = await verifyWith({ windows: usageOf(1873n) });
    const nanos = (hours: bigint) => hours * 3_600_000_000_000n;
    expect(verdictOf(changedWindow)).toBe(
      `windows: region "eu" from 2026-09-01T00:00:00.000Z to 2026-10-01T00:00:00.000Z: observed cpuTimeNanos is ${nanos(1872n)} by stored hours, ${nanos(1873n)} by windows`,
    );
    expect(verdictOf(await verifyWith({ hours: usageOf(1871n) }))).toMatch(/^windows: .* by stored hours/);
    expect(verdictOf(await verifyWith({ windows: [] }))).toMatch(/^windows: .* nothing by windows$/);
    // The same sums of other windows.
    expect(verdictOf(await verifyWith({ windows: usageOf(1872n, 'x') }))).toMatch(/^windows: .*the hash of the hours/);
    expect(verdictOf(await verifyWith({ windows: usageOf(1871n), hours: usageOf(1871n) }))).toMatch(/^hours: /);
  });

  it('takes windows that came later for what adjustments account for', async () => {
    const late = { windows: usageOf(1900n), hours: usageOf(1900n), hasChanged: true };
    const proof = await verifyWith(late);
    expect(proof.proved).toBe(true);
    expect(proof.steps[2]?.detail).toContain(
      'changed since the invoice was made, the next closing will adjust it: region',
    );
  });

  it('waits for the rollup rather than call an hour wrong', async () => {
    await expect(verifyWith({ windows: usageOf(1900n), isPending: true })).rejects.toThrow(NotNow);
    expect((await verifyWith({ isPending: true })).proved).toBe(true);
  });

  it('says that windows are gone with their retention, or with the customer', async () => {
    const missingFrom = BigInt(Date.parse('2026-09-15T00:00:00Z')) * 1_000_000n;
    const proof = await verifyWith({ windows: [], missingFrom });
    expect(proof.proved).toBe(true);
    expect(proof.steps[1]?.detail).toContain('windows before 2026-09-15T00:00:00.000Z were removed');
    const erased = withUsage({ windows: [], hours: [] });
    expect(await tampered(`UPDATE customers SET erased_at = '2026-10-02'`, erased)).toBe('proved');
  });

  it('is not there for drafts, nor for what is not there', async () => {
    const problem = { kind: 'failed_precondition', field: 'invoice_id' };
    await expect(verifyInvoice(store, draftId, signal)).rejects.toMatchObject(problem);
    await expect(verifyInvoice(store, 'INV-000009', signal)).rejects.toThrow(CallerFault);
    await expect(tampered(`UPDATE invoices SET input = NULL`)).rejects.toMatchObject(problem);
  });

  it('holds of a void invoice with the reversal of its postings', async () => {
    await voidInvoice(store, { invoiceId, reason: 'wrong' }, 'test');
    expect(verdictOf(await verifyInvoice(store, invoiceId, signal))).toBe('proved');
    const unreversed = `DELETE FROM ledger_postings USING ledger_transactions
      WHERE id = transaction_id AND idempotency_key LIKE '%void'`;
    expect(await tampered(unreversed)).toContain('void", posting 1: nothing is stored');
    const unvoided = `UPDATE invoices SET state = 'final', voided_at = NULL WHERE state = 'void'`;
    expect(await tampered(unvoided)).toContain(
      'void", posting 1: receivable:acme -111.38 EUR is stored, the totals say nothing',
    );
  });
});
