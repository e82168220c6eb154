import { createHash } from 'node:crypto';
import { type Kysely, sql, type Transaction } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import { parseId } from '../../lib/identifier.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { appendAudit } from '../../audit/trail.ts';
import { minorUnits } from '../currencies.ts';
import { checkInstant } from '../period.ts';
import { contentOfRates, contentToJson, type PricingRates, sameContent } from '../rating/content-json.ts';
import type { PlanContent } from '../rating/plan-content.ts';
import { type BillingStore, lockPrices } from '../store.ts';
import { knownMetrics } from './metrics-store.ts';
import { parseContent, type PlanContentText } from './parse-content.ts';
import { invalid } from './parse-discount.ts';
import { planVersions, type PlanVersion, toPlanVersion } from './plan-version.ts';
import { firstHour } from './price-spans.ts';

export interface PublishPlanRequest {
  readonly planId: string;
  readonly currency: string;
  readonly validFrom: Date;
  /** Either these or `content`. */
  readonly rates?: PricingRates | undefined;
  readonly content?: PlanContentText | undefined;
}

export type NewVersion = Pick<PlanVersion, 'planId' | 'currency' | 'content' | 'validFrom'>;

/** By whom and when something is written. */
export interface Written {
  readonly at: Date;
  readonly actor: string;
}

/**
 * Publishes a plan, or its next version. The content of a version that is there already answers that version.
 * @throws CallerFault invalid_argument; failed_precondition where it is not later than the version before, has another
 *   currency than it, or would change a price inside a final invoice
 */
export async function publishPlan(
  store: BillingStore,
  request: PublishPlanRequest,
  actor: string,
): Promise<PlanVersion> {
  const { planId, currency, validFrom } = request;
  checkPlan(planId, currency);
  checkInstant('valid_from', validFrom);
  const content = await contentOf(store.db, request);
  return store.db.transaction().execute((transaction) => {
    const written = { at: new Date(store.clock.nowMs()), actor };
    return publishVersion(transaction, { planId, currency, content, validFrom }, written);
  });
}

/** The same with content that was read before, in the caller's transaction. @throws CallerFault failed_precondition */
export async function publishVersion(
  transaction: Transaction<Database>,
  wanted: NewVersion,
  written: Written,
): Promise<PlanVersion> {
  await lockPrices(transaction);
  const rows = await planVersions(transaction)
    .where('version.plan_id', '=', wanted.planId)
    .orderBy('version.version')
    .execute();
  const versions = rows.map(toPlanVersion);
  const same = versions.find((version) => sameVersion(version, wanted));
  if (same !== undefined) return same;
  checkFollows(wanted, versions.at(-1));
  await checkChangesNoFinalInvoice(transaction, wanted);
  const version = { ...wanted, version: versions.length + 1 };
  await insertVersion(transaction, version, written);
  return version;
}

/** Which plan versions to list; what is left out narrows nothing. */
export interface PlanFilter {
  readonly planId?: string | undefined;
  /** The last one of the page before. */
  readonly after?: Pick<PlanVersion, 'planId' | 'version'> | undefined;
}

/** By plan, then version. */
export async function listPlans(
  db: Kysely<Database>,
  { planId, after }: PlanFilter,
  limit: number,
): Promise<PlanVersion[]> {
  let query = planVersions(db).orderBy('version.plan_id').orderBy('version.version').limit(limit);
  if (planId !== undefined) query = query.where('version.plan_id', '=', planId);
  if (after !== undefined) {
    query = query.where(
      sql<boolean>`(version.plan_id, version.version) > (${after.planId}, ${after.version}::integer)`,
    );
  }
  return (await query.execute()).map(toPlanVersion);
}

/** @throws CallerFault invalid_argument */
export function checkPlan(planId: string, currency: string): void {
  parseId('plan_id', planId);
  minorUnits(currency);
}

/** @throws CallerFault invalid_argument */
export async function readContent(db: Kysely<Database>, text: PlanContentText): Promise<PlanContent> {
  const ids = text.charges.map((charge) => charge.metric);
  return parseContent(text, await knownMetrics(db, ids));
}

async function contentOf(db: Kysely<Database>, { rates, content }: PublishPlanRequest): Promise<PlanContent> {
  if (rates !== undefined && content !== undefined) throw invalid('rates', 'are not possible together with content');
  if (content !== undefined) return readContent(db, content);
  if (rates === undefined) throw invalid('content', 'is missing, and rates are too');
  return contentOfRates(rates);
}

function sameVersion(version: PlanVersion, wanted: NewVersion): boolean {
  const sameTime = version.validFrom.getTime() === wanted.validFrom.getTime();
  return sameTime && version.currency === wanted.currency && sameContent(version.content, wanted.content);
}

function checkFollows(wanted: NewVersion, last: PlanVersion | undefined): void {
  if (last === undefined) return;
  if (wanted.validFrom <= last.validFrom) {
    const message = `valid_from: ${wanted.validFrom.toISOString()} is not after that of version ${last.version}, ${last.validFrom.toISOString()}`;
    throw new CallerFault('failed_precondition', 'valid_from', message);
  }
  if (wanted.currency !== last.currency) {
    const message = `currency: plan "${wanted.planId}" is in ${last.currency}, and its subscribers with it, not in ${wanted.currency}`;
    throw new CallerFault('failed_precondition', 'currency', message);
  }
}

/**
 * Only a period in which the plan was billed at or after the change is in its way. A fee in advance is for the time behind its
 * invoice's period: what really holds then is settled on the next invoice.
 */
async function checkChangesNoFinalInvoice(
  transaction: Transaction<Database>,
  { planId, validFrom }: NewVersion,
): Promise<void> {
  const from = firstHour(validFrom);
  const invoice = await transaction
    .selectFrom('invoices')
    .innerJoin('invoice_lines', 'invoice_lines.invoice_id', 'invoices.id')
    .select(['invoices.number', 'invoices.period_end'])
    .where('invoices.state', 'in', ['final', 'paid'])
    .where('invoices.period_end', '>', from)
    .where('invoice_lines.plan_id', '=', planId)
    .where('invoice_lines.ends_at', '>', from)
    .whereRef('invoice_lines.starts_at', '<', 'invoices.period_end')
    .orderBy('invoices.period_end', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (invoice === undefined) return;
  const message = `valid_from: ${validFrom.toISOString()} would change prices inside the final invoice ${invoice.number}, which ends at ${invoice.period_end.toISOString()}`;
  throw new CallerFault('failed_precondition', 'valid_from', message);
}

async function insertVersion(
  transaction: Transaction<Database>,
  { planId, version, currency, content, validFrom }: PlanVersion,
  { at, actor }: Written,
): Promise<void> {
  const text = contentToJson(content);
  await transaction
    .insertInto('plan_versions')
    .values({ plan_id: planId, version, currency, valid_from: validFrom, published_at: at, content: text })
    .execute();
  // Periods in which nothing was charged have something to charge again.
  await transaction
    .updateTable('billing_periods')
    .set({ settled: false })
    .where('settled', '=', true)
    .where('period_end', '>', validFrom)
    .where(sql<boolean>`customer_id IN (SELECT customer_id FROM subscriptions WHERE plan_id = ${planId})`)
    .execute();
  const content_hash = createHash('sha256').update(text).digest('hex');
  const detail = { version, currency, valid_from: validFrom.toISOString(), content_hash };
  await appendAudit(transaction, { at, actor, action: 'plan.published', subject: planId, detail });
}
