import { type Kysely, sql, type Transaction } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import { parseId } from '../../lib/identifier.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { appendAudit } from '../../audit/trail.ts';
import { minorUnits } from '../currencies.ts';
import { checkInstant } from '../period.ts';
import { METERS } from '../rating/meters.ts';
import { type BillingStore, lockPrices } from '../store.ts';
import {
  parseRates,
  planVersions,
  type PlanVersion,
  type PricingRates,
  samePrices,
  showPrices,
} from './plan-version.ts';
import { toPlanVersion } from './plan-version.ts';
import { firstHour } from './price-spans.ts';

export interface PublishPlanRequest {
  readonly planId: string;
  readonly currency: string;
  readonly rates: PricingRates;
  readonly validFrom: Date;
}

type NewVersion = Omit<PlanVersion, 'version'>;

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
  parseId('plan_id', planId);
  minorUnits(currency);
  checkInstant('valid_from', validFrom);
  const wanted: NewVersion = { planId, currency, prices: parseRates(request.rates), validFrom };
  return store.db.transaction().execute(async (transaction) => {
    await lockPrices(transaction);
    const rows = await planVersions(transaction)
      .where('version.plan_id', '=', planId)
      .orderBy('version.version')
      .execute();
    const versions = rows.map(toPlanVersion);
    const same = versions.find((version) => sameContent(version, wanted));
    if (same !== undefined) return same;
    checkFollows(wanted, versions.at(-1));
    await checkChangesNoFinalInvoice(transaction, wanted);
    const version = { ...wanted, version: versions.length + 1 };
    await insertVersion(transaction, version, { at: new Date(store.clock.nowMs()), actor });
    return version;
  });
}

/** By plan, then version; those behind `after` only. */
export async function listPlans(
  db: Kysely<Database>,
  after: Pick<PlanVersion, 'planId' | 'version'> | undefined,
  limit: number,
): Promise<PlanVersion[]> {
  let query = planVersions(db).orderBy('version.plan_id').orderBy('version.version').limit(limit);
  if (after !== undefined) {
    query = query.where(
      sql<boolean>`(version.plan_id, version.version) > (${after.planId}, ${after.version}::integer)`,
    );
  }
  return (await query.execute()).map(toPlanVersion);
}

function sameContent(version: PlanVersion, wanted: NewVersion): boolean {
  const sameTime = version.validFrom.getTime() === wanted.validFrom.getTime();
  return sameTime && version.currency === wanted.currency && samePrices(version.prices, wanted.prices);
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

/** Only a month in which the plan was billed at or after the change is in its way. */
async function checkChangesNoFinalInvoice(
  transaction: Transaction<Database>,
  { planId, validFrom }: NewVersion,
): Promise<void> {
  const invoice = await transaction
    .selectFrom('invoices')
    .innerJoin('invoice_lines', 'invoice_lines.invoice_id', 'invoices.id')
    .select(['invoices.number', 'invoices.period_end'])
    .where('invoices.state', '=', 'final')
    .where('invoice_lines.plan_id', '=', planId)
    .where('invoice_lines.ends_at', '>', firstHour(validFrom))
    .orderBy('invoices.period_end', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (invoice === undefined) return;
  const message = `valid_from: ${validFrom.toISOString()} would change prices inside the final invoice ${invoice.number}, which ends at ${invoice.period_end.toISOString()}`;
  throw new CallerFault('failed_precondition', 'valid_from', message);
}

async function insertVersion(
  transaction: Transaction<Database>,
  { planId, version, currency, prices, validFrom }: PlanVersion,
  { at, actor }: { at: Date; actor: string },
): Promise<void> {
  await transaction
    .insertInto('plan_versions')
    .values({ plan_id: planId, version, currency, valid_from: validFrom, published_at: at })
    .execute();
  const shown = showPrices(prices);
  const rows = METERS.map(({ id }) => ({ plan_id: planId, version, meter: id, unit_price: shown[id] }));
  await transaction.insertInto('plan_prices').values(rows).execute();
  const detail = { version, currency, valid_from: validFrom.toISOString(), ...shown };
  await appendAudit(transaction, { at, actor, action: 'plan.published', subject: planId, detail });
}
