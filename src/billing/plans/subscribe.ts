import { sql, type Transaction } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { appendAudit } from '../../audit/trail.ts';
import { getCustomer } from '../customers.ts';
import { checkInstant } from '../period.ts';
import { type BillingStore, lockPrices } from '../store.ts';
import { planVersions, toPlanVersion } from './plan-version.ts';
import { firstHour, type Subscription } from './price-spans.ts';

/**
 * Gives a customer a plan from an instant on. The same request again answers the same subscription.
 * @throws CallerFault invalid_argument where the instant is not on a whole hour of UTC; not_found where there is no such
 *   customer or plan; already_exists where another plan starts there; failed_precondition where the plan is in another
 *   currency or has no price yet at that instant, or a final invoice covers time that would change
 */
export async function subscribe(store: BillingStore, request: Subscription, actor: string): Promise<Subscription> {
  const { customerId, planId, startsAt } = request;
  checkInstant('starts_at', startsAt);
  if (firstHour(startsAt).getTime() !== startsAt.getTime()) {
    const message = `starts_at: ${startsAt.toISOString()} is not on a whole hour of UTC`;
    throw new CallerFault('invalid_argument', 'starts_at', message);
  }
  return store.db.transaction().execute(async (transaction) => {
    await lockPrices(transaction);
    await checkFits(transaction, request);
    if (await isThere(transaction, request)) return request;
    await checkChangesNoFinalInvoice(transaction, request);
    const at = new Date(store.clock.nowMs());
    await transaction
      .insertInto('subscriptions')
      .values({ customer_id: customerId, plan_id: planId, starts_at: startsAt, created_at: at })
      .execute();
    // The months that this reaches back into have something to bill again.
    await transaction.deleteFrom('closed_periods').where('period_end', '>', startsAt).execute();
    const detail = { plan_id: planId, starts_at: startsAt.toISOString() };
    await appendAudit(transaction, { at, actor, action: 'customer.subscribed', subject: customerId, detail });
    return request;
  });
}

async function checkFits(
  transaction: Transaction<Database>,
  { customerId, planId, startsAt }: Subscription,
): Promise<void> {
  const customer = await getCustomer(transaction, customerId);
  const row = await planVersions(transaction)
    .where('version.plan_id', '=', planId)
    .orderBy('version.version')
    .limit(1)
    .executeTakeFirst();
  if (row === undefined) {
    throw new CallerFault('not_found', 'plan_id', `plan_id: there is no plan ${JSON.stringify(planId)}`);
  }
  const first = toPlanVersion(row);
  if (first.currency !== customer.currency) {
    const message = `plan_id: plan "${planId}" is in ${first.currency}, customer "${customerId}" in ${customer.currency}`;
    throw new CallerFault('failed_precondition', 'plan_id', message);
  }
  if (first.validFrom > startsAt) {
    const message = `starts_at: plan "${planId}" has no prices before ${first.validFrom.toISOString()}, not at ${startsAt.toISOString()}`;
    throw new CallerFault('failed_precondition', 'starts_at', message);
  }
}

async function isThere(
  transaction: Transaction<Database>,
  { customerId, planId, startsAt }: Subscription,
): Promise<boolean> {
  const existing = await transaction
    .selectFrom('subscriptions')
    .select('plan_id')
    .where('customer_id', '=', customerId)
    .where('starts_at', '=', startsAt)
    .executeTakeFirst();
  if (existing === undefined || existing.plan_id === planId) return existing !== undefined;
  const message = `plan_id: customer "${customerId}" has plan "${existing.plan_id}" from ${startsAt.toISOString()}, not "${planId}"`;
  throw new CallerFault('already_exists', 'plan_id', message);
}

/** The subscription changes the time from its start to the start of the next. */
async function checkChangesNoFinalInvoice(
  transaction: Transaction<Database>,
  { customerId, startsAt }: Subscription,
): Promise<void> {
  const invoice = await transaction
    .selectFrom('invoices')
    .select(['number', 'period_start', 'period_end'])
    .where('customer_id', '=', customerId)
    .where('state', '=', 'final')
    .where('period_end', '>', startsAt)
    .where(
      'period_start',
      '<',
      sql<Date>`coalesce((SELECT min(starts_at) FROM subscriptions WHERE customer_id = ${customerId} AND starts_at > ${startsAt}), 'infinity')`,
    )
    .orderBy('period_start')
    .limit(1)
    .executeTakeFirst();
  if (invoice === undefined) return;
  const covers = `${invoice.period_start.toISOString()} to ${invoice.period_end.toISOString()}`;
  const message = `starts_at: ${startsAt.toISOString()} would change time inside the final invoice ${invoice.number}, which covers ${covers}`;
  throw new CallerFault('failed_precondition', 'starts_at', message);
}
