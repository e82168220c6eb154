import { type Kysely, sql } from 'kysely';
import { NotNow } from '../../lib/failure.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import type { InvoiceInput, SpanUsage } from '../invoice/invoice-input.ts';
import type { UsageReader } from '../invoice/invoicing-store.ts';
import type { BillingStore } from '../store.ts';
import { seenUntilNanos, toNanos, usageRequestOf } from '../invoice/usage-request.ts';
import { differs, holds, type ProofStep } from './proof-step.ts';
import type { StoredInvoice } from './stored-invoice.ts';

/** What hours are read with. */
type Hours = BillingStore & { readonly usage: UsageReader };
/** By span, then region. */
type Usage = readonly (readonly SpanUsage[])[];

const ROLLUP_WAIT_MS = 60_000;

/**
 * The stored hours are those that raw windows come to.
 * @throws NotNow where some of them wait for the rollup; what the engines report
 */
export async function proveWindows(
  store: Hours,
  { erasedAt }: StoredInvoice,
  input: InvoiceInput,
  signal: AbortSignal,
): Promise<ProofStep> {
  if (erasedAt !== undefined) return holds('windows', erased(erasedAt));
  const request = usageRequestOf(input.customerId, input.spans);
  const { usage: recomputed, missingFrom } = await store.usage.recomputeUsage(request, signal);
  if (missingFrom !== undefined) {
    const until = new Date(Number(missingFrom / 1_000_000n)).toISOString();
    return holds('windows', `not compared: windows before ${until} were removed when their retention was over`);
  }
  const problem = differenceOf(input, await hoursOf(store, input, signal), recomputed, ['stored hours', 'windows']);
  if (problem === undefined) return holds('windows', 'raw windows come to the stored hours, with their hashes');
  await checkNothingPending(store, input, signal);
  return differs('windows', problem);
}

/**
 * The stored hours add up to the input, but for what changed after the input was read: adjustments account for that.
 * @throws what the engines report
 */
export async function proveHours(
  store: Hours,
  { erasedAt, computedAt, invoiceId }: StoredInvoice,
  input: InvoiceInput,
  signal: AbortSignal,
): Promise<ProofStep> {
  if (erasedAt !== undefined) return holds('hours', erased(erasedAt));
  const { customerId, period } = input;
  const now = await hoursOf(store, input, signal);
  const billed = input.spans.map((span) => span.usage);
  const problem = differenceOf(input, now, billed, ['stored hours', 'the input']);
  if (problem === undefined) return holds('hours', 'the stored hours add up to the input');
  const sinceNanos = seenUntilNanos(computedAt);
  const asked = { customerId, startNanos: toNanos(period.start), endNanos: toNanos(period.end), sinceNanos };
  const [changed] = await store.usage.changedSince([asked], signal);
  if (changed !== true) return differs('hours', problem);
  const numbers = await adjustingInvoices(store.db, invoiceId);
  const by = numbers.length === 0 ? 'the next closing will adjust it' : `adjusted by ${numbers.join(', ')}`;
  return holds('hours', `changed since the invoice was made, ${by}: ${problem}`);
}

function erased(at: Date): string {
  return `not compared: the customer's usage was erased at ${at.toISOString()}`;
}

async function hoursOf(store: Hours, input: InvoiceInput, signal: AbortSignal): Promise<Usage> {
  const [usage] = await store.usage.readUsage([usageRequestOf(input.customerId, input.spans)], signal);
  if (usage === undefined) throw new Error(`usage of customer "${input.customerId}" was asked for and is not there`);
  return usage;
}

async function checkNothingPending(store: Hours, input: InvoiceInput, signal: AbortSignal): Promise<void> {
  const { customerId, period } = input;
  const span = { customerId, startNanos: toNanos(period.start), endNanos: toNanos(period.end) };
  const pending = await store.usage.pendingCustomers([span], signal);
  if (!pending.has(customerId)) return;
  const message = `hours of customer "${customerId}" in ${period.name} wait for the rollup: verify again after it`;
  throw new NotNow('unavailable', ROLLUP_WAIT_MS, message);
}

/** Final ones with lines that correct this one. */
async function adjustingInvoices(db: Kysely<Database>, invoiceId: string): Promise<string[]> {
  const { rows } = await sql<{ number: string }>`SELECT DISTINCT number FROM invoices
    JOIN invoice_lines ON invoice_lines.invoice_id = invoices.id
    WHERE adjusts_invoice_id = ${invoiceId} AND state IN ('final', 'paid') ORDER BY number`.execute(db);
  return rows.map((row) => row.number);
}

/** The first thing that two measurements of the same spans differ in. */
function differenceOf(
  { spans }: InvoiceInput,
  a: Usage,
  b: Usage,
  [nameA, nameB]: readonly [string, string],
): string | undefined {
  for (const [index, span] of spans.entries()) {
    const [ofA, ofB] = [byRegion(a[index]), byRegion(b[index])];
    for (const region of [...new Set([...ofA.keys(), ...ofB.keys()])].toSorted()) {
      const [factsA, factsB] = [ofA.get(region) ?? NOTHING, ofB.get(region) ?? NOTHING];
      const fact = [...new Set([...factsA.keys(), ...factsB.keys()])].find(
        (key) => factsA.get(key) !== factsB.get(key),
      );
      if (fact === undefined) continue;
      const shown = ([name, facts]: readonly [string, Facts]) => `${facts.get(fact) ?? 'nothing'} by ${name}`;
      const where = `region "${region}" from ${span.start.toISOString()} to ${span.end.toISOString()}`;
      return `${where}: ${fact} is ${shown([nameA, factsA])}, ${shown([nameB, factsB])}`;
    }
  }
  return undefined;
}

/** What there is to compare, by name, the quantities first. */
type Facts = ReadonlyMap<string, string>;
const NOTHING: Facts = new Map();

function byRegion(usage: readonly SpanUsage[] = []): Map<string, Facts> {
  return new Map(
    usage.map(({ region, observed, estimated, hoursHash }) => {
      const quantities = (kind: string, of: SpanUsage['observed']) => {
        return Object.entries(of).map(([name, value]): [string, string] => [`${kind} ${name}`, value.toString()]);
      };
      const facts = [...quantities('observed', observed), ...quantities('estimated', estimated)];
      return [region, new Map([...facts, ['the hash of the hours', hoursHash]])];
    }),
  );
}
