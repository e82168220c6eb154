import { type Kysely, sql, type Transaction } from 'kysely';
import { CallerFault } from '../../lib/failure.ts';
import type { Database } from '../../storage/postgres/schema.ts';
import { appendAudit } from '../../audit/trail.ts';
import { getActiveCustomer } from '../customers.ts';
import { checkInstant } from '../period.ts';
import { type BillingStore, lockPrices } from '../store.ts';
import { invalid } from './parse-discount.ts';
import { planVersions, toPlanVersion } from './plan-version.ts';
import { firstHour, type Subscription } from './price-spans.ts';

export interface SubscriptionFilter {
  readonly customerId?: string | undefined;
  readonly planId?: string | undefined;
  /** The last one of the page before. */
  readonly after?: Pick<Subscription, 'customerId' | 'startsAt'> | undefined;
}

/**
 * Gives a customer a plan from an instant on. The same request again answers the same subscription.
 * @throws CallerFault invalid_argument where the instant is not on a whole second; not_found where there is no such
 *   customer or plan; already_exists where another plan starts there; failed_precondition where the plan has no price yet at
 *   that instant, or a final invoice covers time that would change
 */
export async function subscribe(store: BillingStore, request: Subscription, actor: string): Promise<Subscription> {
  const { planId, startsAt } = request;
  checkSecond('starts_at', startsAt);
  if (planId === '') throw invalid('plan_id', 'is empty');
  return store.db.transaction().execute(async (transaction) => {
    await lockPrices(transaction);
    await getActiveCustomer(transaction, request.customerId);
    await checkHasPrices(transaction, request);
    return start(transaction, request, { field: 'starts_at', at: new Date(store.clock.nowMs()), actor });
  });
}

/**
 * Leaves a customer without a plan from an instant on, until its next subscription starts.
 * @returns the subscription to no plan that starts there
 * @throws CallerFault as `subscribe`; failed_precondition where no plan holds before that instant
 */
export async function endSubscription(
  store: BillingStore,
  request: { readonly customerId: string; readonly endsAt: Date },
  actor: string,
): Promise<Subscription> {
  const { customerId, endsAt } = request;
  checkSecond('ends_at', endsAt);
  return store.db.transaction().execute(async (transaction) => {
    await lockPrices(transaction);
    await getActiveCustomer(transaction, customerId);
    const [before] = await transaction
      .selectFrom('subscriptions')
      .select('plan_id')
      .where('customer_id', '=', customerId)
      .where('starts_at', '<', endsAt)
      .orderBy('starts_at', 'desc')
      .limit(1)
      .execute();
    if (before === undefined || before.plan_id === '') {
      const message = `ends_at: customer "${customerId}" has no plan before ${endsAt.toISOString()}`;
      throw new CallerFault('failed_precondition', 'ends_at', message);
    }
    const end = { customerId, planId: '', startsAt: endsAt };
    return start(transaction, end, { field: 'ends_at', at: new Date(store.clock.nowMs()), actor });
  });
}

/** By customer, then start. */
export async function listSubscriptions(
  db: Kysely<Database>,
  { customerId, planId, after }: SubscriptionFilter,
  limit: number,
): Promise<Subscription[]> {
  let query = db
    .selectFrom('subscriptions')
    .select(['customer_id as customerId', 'plan_id as planId', 'starts_at as startsAt'])
    .orderBy('customer_id')
    .orderBy('starts_at')
    .limit(limit);
  if (customerId !== undefined) query = query.where('customer_id', '=', customerId);
  if (planId !== undefined) query = query.where('plan_id', '=', planId);
  if (after !== undefined) {
    query = query.where(sql<boolean>`(customer_id, starts_at) > (${after.customerId}, ${after.startsAt}::timestamptz)`);
  }
  return query.execute();
}

interface Written {
  /** The field of the request that the instant came in. */
  readonly field: string;
  readonly at: Date;
  readonly actor: string;
}

async function start(
  transaction: Transaction<Database>,
  subscription: Subscription,
  { field, at, actor }: Written,
): Promise<Subscription> {
  const { customerId, planId, startsAt } = subscription;
  if (await isThere(transaction, subscription)) return subscription;
  await checkChangesNoFinalInvoice(transaction, subscription, field);
  await transaction
    .insertInto('subscriptions')
    .values({ customer_id: customerId, plan_id: planId, starts_at: startsAt, created_at: at })
    .execute();
  // The periods that this reaches back into have something to bill again.
  await transaction
    .updateTable('billing_periods')
    .set({ settled: false })
    .where('customer_id', '=', customerId)
    .where('period_end', '>', startsAt)
    .where('settled', '=', true)
    .execute();
  const action = planId === '' ? 'customer.unsubscribed' : 'customer.subscribed';
  const detail = { plan_id: planId, starts_at: startsAt.toISOString() };
  await appendAudit(transaction, { at, actor, action, subject: customerId, detail });
  return subscription;
}

function checkSecond(field: string, instant: Date): void {
  checkInstant(field, instant);
  if (instant.getTime() % 1000 !== 0) throw invalid(field, `${instant.toISOString()} is not on a whole second`);
}

async function checkHasPrices(transaction: Transaction<Database>, { planId, startsAt }: Subscription): Promise<void> {
  const row = await planVersions(transaction)
    .where('version.plan_id', '=', planId)
    .orderBy('version.version')
    .limit(1)
    .executeTakeFirst();
  if (row === undefined) {
    throw new CallerFault('not_found', 'plan_id', `plan_id: there is no plan ${JSON.stringify(planId)}`);
  }
  const from = firstHour(toPlanVersion(row).validFrom);
  if (from <= startsAt) return;
  const message = `starts_at: plan "${planId}" has no prices before ${from.toISOString()}, not at ${startsAt.toISOString()}`;
  throw new CallerFault('failed_precondition', 'starts_at', message);
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
  field: string,
): Promise<void> {
  const invoice = await transaction
    .selectFrom('invoices')
    .select(['number', 'period_start', 'period_end'])
    .where('customer_id', '=', customerId)
    .where('state', 'in', ['final', 'paid'])
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
  const message = `${field}: ${startsAt.toISOString()} would change time inside the final invoice ${invoice.number}, which covers ${covers}`;
  throw new CallerFault('failed_precondition', field, message);
}
