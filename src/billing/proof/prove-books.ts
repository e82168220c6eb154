import type { ClickHouseClient } from '@clickhouse/client';
import type { Kysely } from 'kysely';
import { readAnchors } from '../../audit/anchors.ts';
import { verifyAudit } from '../../audit/verify-audit.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import type { ComputedInvoice } from '../invoice/compute-invoice.ts';
import type { InvoiceInput } from '../invoice/invoice-input.ts';
import type { Invoice } from '../invoice/invoice.ts';
import { voidKey } from '../invoice/void-invoice.ts';
import { finalKey } from '../invoice/write-invoices.ts';
import { postingsOf, reversed } from '../ledger/accounts.ts';
import type { Posting } from '../ledger/post.ts';
import { formatDecimal, parseDecimal, stripZeros } from '../money.ts';
import { differs, holds, type ProofStep } from './proof-step.ts';

/** The postings are those of the totals; of a void invoice their reversal too, and of no other. */
export async function proveLedger(
  db: Kysely<Database>,
  invoice: Invoice,
  input: InvoiceInput,
  computed: ComputedInvoice,
): Promise<ProofStep> {
  const { customerId, currency, tax } = input;
  const postings = postingsOf({
    customerId,
    currency,
    taxRegion: tax.treatment === 'standard' ? tax.region : '',
    net: parseDecimal(computed.net, 'net'),
    taxes: computed.taxes,
    total: parseDecimal(computed.total, 'total'),
  });
  const problem = await postingsDiffer(db, finalKey(invoice.invoiceId), postings);
  if (problem !== undefined) return differs('ledger', problem);
  const isVoid = invoice.state === 'void';
  const unreversed = await postingsDiffer(db, voidKey(invoice.invoiceId), isVoid ? reversed(postings) : []);
  if (unreversed !== undefined) return differs('ledger', unreversed);
  const reversal = isVoid ? ', and their reversal' : '';
  return holds('ledger', `${postings.length} postings of ${invoice.total} ${currency}${reversal}`);
}

/** The audit record has the hashes of the invoice, and from it on the trail is unbroken. */
export async function proveAudit(
  db: Kysely<Database>,
  clickhouse: ClickHouseClient,
  invoice: Invoice,
  signal: AbortSignal,
): Promise<ProofStep> {
  const record = await db
    .selectFrom('audit_records')
    .select(['sequence', 'detail'])
    .where('subject', '=', invoice.invoiceId)
    .where('action', '=', 'invoice.finalized')
    .executeTakeFirst();
  if (record === undefined) return differs('audit', 'there is no audit record of the invoice');
  const from = BigInt(record.sequence);
  const verdict = await verifyAudit(db, readAnchors(clickhouse, from, signal), from);
  if (!verdict.intact) return differs('audit', `audit record ${verdict.sequence}: ${verdict.problem}`);
  const { number, inputHash, linesHash } = invoice;
  const said: Readonly<Record<string, unknown>> = JSON.parse(record.detail);
  const expected = { number, input_hash: inputHash, lines_hash: linesHash };
  for (const [name, value] of Object.entries(expected)) {
    if (said[name] === value) continue;
    return differs('audit', `audit record ${from}: ${name} is ${String(said[name])}, the invoice has ${value}`);
  }
  return holds('audit', `record ${from} has both hashes, and ${verdict.records} records from it on are unbroken`);
}

async function postingsDiffer(
  db: Kysely<Database>,
  key: string,
  expected: readonly Posting[],
): Promise<string | undefined> {
  const rows = await db
    .selectFrom('ledger_postings')
    .innerJoin('ledger_transactions', 'ledger_transactions.id', 'transaction_id')
    .select(['account_id', 'ledger_postings.currency', 'amount'])
    .where('idempotency_key', '=', key)
    .orderBy('position')
    .execute();
  const shown = (account: string, amount: string, currency: string) => `${account} ${amount} ${currency}`;
  const stored = rows.map((row) => {
    return shown(row.account_id, formatDecimal(stripZeros(parseDecimal(row.amount, 'amount'))), row.currency);
  });
  const right = expected.map((each) => shown(each.account, formatDecimal(stripZeros(each.amount)), each.currency));
  const index = Math.max(stored.length, right.length);
  for (let at = 0; at < index; at++) {
    if (stored[at] === right[at]) continue;
    return `"${key}", posting ${at + 1}: ${stored[at] ?? 'nothing'} is stored, the totals say ${right[at] ?? 'nothing'}`;
  }
  return undefined;
}
