import { createHash } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import type { Database } from '../../storage/postgres/schema.ts';
import { decodeInput, encodeInput } from '../invoice/input-text.ts';
import type { InvoiceInput, PlanSpan } from '../invoice/invoice-input.ts';
import { contentFromJson, sameContent } from '../rating/content-json.ts';
import { differs, holds, type ProofStep } from './proof-step.ts';
import type { ProvableInvoice } from './stored-invoice.ts';

/**
 * The input is the one that was hashed, it is this invoice's, and the plan versions in it are the published ones. First of
 * all steps: what usage is compared with is in it.
 */
export async function proveInput(db: Kysely<Database>, stored: ProvableInvoice): Promise<ProofStep> {
  const hash = createHash('sha256').update(stored.inputText).digest('hex');
  const { inputHash } = stored;
  if (hash !== inputHash)
    return differs('input', `the stored input has the hash ${hash}, the invoice says ${inputHash}`);
  const input = decoded(stored.inputText);
  if (input === undefined) return differs('input', 'the stored input is none that an invoice was computed from');
  const problem = strangerOf(input, stored) ?? (await unpublishedOf(db, input));
  if (problem !== undefined) return differs('input', problem);
  const versions = new Set(spansOf(input).map(({ planId, planVersion }) => JSON.stringify([planId, planVersion])));
  return holds('input', `SHA-256 ${hash}; ${versions.size} plan versions as published`);
}

function decoded(text: string): InvoiceInput | undefined {
  try {
    const input = decodeInput(text);
    return encodeInput(input) === text ? input : undefined;
  } catch {
    return undefined;
  }
}

function strangerOf(input: InvoiceInput, stored: ProvableInvoice): string | undefined {
  const pairs = [
    ['customer', input.customerId, stored.customerId],
    ['currency', input.currency, stored.currency],
    ['time zone', input.timeZone, stored.timeZone],
    ['period', input.period.name, stored.period],
    ['start', input.period.start.toISOString(), stored.periodStart.toISOString()],
    ['end', input.period.end.toISOString(), stored.periodEnd.toISOString()],
  ] as const;
  const other = pairs.find(([, own, said]) => own !== said);
  return other && `${other[0]}: the invoice says ${other[2]}, its input ${other[1]}`;
}

async function unpublishedOf(db: Kysely<Database>, input: InvoiceInput): Promise<string | undefined> {
  const spans = spansOf(input);
  const ids = [...new Set(spans.map((span) => span.planId))];
  const rows = await db
    .selectFrom('plan_versions')
    .select(['plan_id', 'version', 'currency', 'content'])
    .where(sql<boolean>`plan_id = ANY(${ids}::text[])`)
    .execute();
  for (const { planId, planVersion, content, exchange } of spans) {
    const published = rows.find((row) => row.plan_id === planId && row.version === planVersion);
    const named = `plan "${planId}" version ${planVersion}`;
    if (published === undefined) return `${named} was never published`;
    const currency = exchange?.fromCurrency ?? input.currency;
    if (published.currency !== currency) return `${named} is in ${published.currency}, the input has it in ${currency}`;
    if (!sameContent(contentFromJson(published.content), content)) return `${named} is not what was published`;
  }
  return undefined;
}

/** All that say what a plan version charges. */
function spansOf(input: InvoiceInput): readonly PlanSpan[] {
  return [...input.spans, ...input.next.spans];
}
