import { type Kysely, sql } from 'kysely';
import type { Database } from '../../storage/postgres/schema.ts';
import { addDecimals, type Decimal, negate, stripZeros, ZERO } from '../money.ts';
import { computeInvoice } from './compute-invoice.ts';
import { type FinalInvoice, readBilledLines } from './history.ts';
import { decodeInput } from './input-text.ts';
import type { BillingPeriod, ComputedLine, InvoiceInput } from './invoice-input.ts';
import type { InvoicingStore, UsageReader } from './invoicing-store.ts';
import { seenUntilNanos, toNanos, usageRequestOf, withUsage } from './usage-request.ts';

/** What earlier final invoices are off from what is known now: late windows, resolved conflicts, replaced estimates. */

/** A customer's period that is being billed, and the final invoices before it. */
export interface Adjusting {
  readonly customerId: string;
  readonly period: BillingPeriod;
  readonly history: readonly FinalInvoice[];
}

/**
 * Lines that bring what was billed of each earlier period to what it comes to now, with its own prices and settings; by
 * customer. Only periods with hours that were computed anew since they were last looked at are read.
 * @param without an invoice that counts as void
 */
export async function readAdjustments(
  { db, usage }: Pick<InvoicingStore, 'db' | 'usage'>,
  asked: readonly Adjusting[],
  without: string | undefined,
  signal: AbortSignal,
): Promise<Map<string, ComputedLine[]>> {
  const changed = await changedInvoices(usage, asked, signal);
  if (changed.length === 0) return new Map();
  const ids = changed.map((invoice) => invoice.invoiceId);
  const inputs = await readInputTexts(db, ids);
  const billed = await readBilledLines(db, ids, without);
  const known = changed.filter((invoice) => inputs.has(invoice.invoiceId));
  const decoded = known.map(({ invoiceId }) => decodeInput(inputs.get(invoiceId) ?? ''));
  const measured = await usage.readUsage(
    decoded.map((input) => usageRequestOf(input.customerId, input.spans)),
    signal,
  );
  const lines = known.map(({ customerId, invoiceId }, index) => {
    const input = decoded[index];
    if (input === undefined) throw new Error(`the input of invoice ${invoiceId} was read and is not there`);
    const now = recompute(input, measured[index] ?? []);
    return { customerId, lines: differences(invoiceId, now, billed.get(invoiceId) ?? []) };
  });
  const byCustomer = Map.groupBy(lines, (each) => each.customerId);
  return new Map([...byCustomer].map(([customerId, all]) => [customerId, all.flatMap((each) => each.lines)]));
}

/** What was billed of a period by usage and prices alone, with the usage of now. */
function recompute(input: InvoiceInput, usage: Parameters<typeof withUsage>[1]): readonly ComputedLine[] {
  const spans = withUsage(input.spans, usage);
  return computeInvoice({ ...input, spans, adjustments: [], manualLines: [] }).computed;
}

/** What `now` comes to over what was billed, line by line; equal amounts are no line. */
function differences(invoiceId: string, now: readonly ComputedLine[], billed: readonly ComputedLine[]): ComputedLine[] {
  const both = [...now, ...billed.map(negated)];
  const groups = Map.groupBy(both, lineKey).values();
  return [...groups].flatMap((lines): ComputedLine[] => {
    const [first] = lines;
    const amount = sum(lines.map((line) => line.amount));
    if (first === undefined || amount.units === 0n) return [];
    return [
      {
        ...first,
        kind: 'adjustment',
        chargeId: correctedId(first),
        quantity: sum(lines.map((line) => line.quantity)),
        included: sum(lines.map((line) => line.included)),
        estimated: sum(lines.map((line) => line.estimated)),
        amount,
        tiers: [],
        regions: sumRegions(lines),
        adjustsInvoiceId: invoiceId,
      },
    ];
  });
}

/** The same for a line and for all adjustments of it. */
function lineKey(line: ComputedLine): string {
  return JSON.stringify([correctedId(line), line.planId, line.planVersion, line.start.getTime()]);
}

/** E.g. "usage/cpu": which line an adjustment corrects. */
function correctedId({ kind, chargeId }: ComputedLine): string {
  return kind === 'adjustment' ? chargeId : `${kind}/${chargeId}`;
}

function negated(line: ComputedLine): ComputedLine {
  const { quantity, included, estimated, amount, regions } = line;
  return {
    ...line,
    quantity: negate(quantity),
    included: negate(included),
    estimated: negate(estimated),
    amount: negate(amount),
    regions: regions.map(({ region, quantity: part }) => ({ region, quantity: negate(part) })),
  };
}

function sum(all: readonly Decimal[]): Decimal {
  return all.reduce(addDecimals, ZERO);
}

function sumRegions(lines: readonly ComputedLine[]): ComputedLine['regions'] {
  const parts = Map.groupBy(
    lines.flatMap((line) => line.regions),
    (part) => part.region,
  );
  return [...parts]
    .map(([region, all]) => ({ region, quantity: stripZeros(sum(all.map((part) => part.quantity))) }))
    .filter(({ quantity }) => quantity.units !== 0n)
    .toSorted((a, b) => (a.region < b.region ? -1 : 1));
}

/** Those of an earlier period with an hour that was computed anew since the last invoice that looked at it. */
async function changedInvoices(
  usage: UsageReader,
  asked: readonly Adjusting[],
  signal: AbortSignal,
): Promise<FinalInvoice[]> {
  const earlier = asked.flatMap(({ period, history }) => {
    const before = history.filter((invoice) => invoice.start < period.start);
    return before.map((invoice) => ({ invoice, sinceNanos: lookedAtNanos(invoice, before) }));
  });
  if (earlier.length === 0) return [];
  const requests = earlier.map(({ invoice: { customerId, start, end }, sinceNanos }) => {
    return { customerId, startNanos: toNanos(start), endNanos: toNanos(end), sinceNanos };
  });
  const changed = await usage.changedSince(requests, signal);
  return earlier.filter((_, index) => changed[index] === true).map(({ invoice }) => invoice);
}

/** Each final invoice looks at all periods before its own. */
function lookedAtNanos(invoice: FinalInvoice, before: readonly FinalInvoice[]): bigint {
  const looked = before.filter((other) => other.start >= invoice.start).map((other) => other.computedAt.getTime());
  return seenUntilNanos(new Date(Math.max(...looked)));
}

async function readInputTexts(db: Kysely<Database>, invoiceIds: readonly string[]): Promise<Map<string, string>> {
  const rows = await db
    .selectFrom('invoices')
    .select(['id', 'input'])
    .where(sql<boolean>`id = ANY(${invoiceIds}::uuid[])`)
    .execute();
  return new Map(rows.flatMap(({ id, input }) => (input === null ? [] : [[id, input] as const])));
}
