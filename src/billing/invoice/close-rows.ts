import { messageOf } from '../../lib/failure.ts';
import { isEngineAway } from '../../storage/engine-away.ts';
import type { BillingStore } from '../store.ts';
import { type Closed, type Prepared, prepareBatch, writeBatch } from './close-batch.ts';
import { reopenEmptyPeriods } from './empty-periods.ts';
import type { InvoicingStore } from './invoicing-store.ts';
import type { CustomerPeriod } from './read-inputs.ts';

export interface CustomerFailure {
  readonly customerId: string;
  readonly reason: unknown;
}

/** What became of a batch of customers, each by itself. */
export interface BatchOutcome {
  readonly closed: readonly Closed[];
  readonly failures: readonly CustomerFailure[];
}

/** How often an invoice is computed anew because prices changed meanwhile. */
const ATTEMPTS_MAX = 3;
const FAILURE_LENGTH_MAX = 1000;

/** Reads in the background: a failure is told to whoever awaits it, and is no unhandled one until then. */
export function beginBatch(
  store: InvoicingStore,
  rows: readonly CustomerPeriod[],
  signal: AbortSignal,
): Promise<Prepared> {
  const prepared = prepareBatch(store, rows, signal);
  prepared.catch(() => undefined);
  return prepared;
}

/**
 * Closes a batch together, and where that fails each customer by itself, so that one's trouble holds up no other. Who fails is
 * noted with the reason.
 * @throws the signal's reason; what says that an engine is away, which is no customer's failure
 */
export async function closeRows(
  store: InvoicingStore,
  rows: readonly CustomerPeriod[],
  prepared: Promise<Prepared>,
  signal: AbortSignal,
): Promise<BatchOutcome> {
  try {
    return await closeTogether(store, rows, prepared, signal);
  } catch (reason) {
    // What ends the whole run is no failure of these customers.
    signal.throwIfAborted();
    if (isEngineAway(reason)) throw reason;
    const [only, ...others] = rows;
    if (only !== undefined && others.length === 0)
      return { closed: [], failures: [await noteFailure(store, only, reason)] };
  }
  const outcomes: BatchOutcome[] = [];
  for (const row of rows) outcomes.push(await closeRows(store, [row], beginBatch(store, [row], signal), signal));
  return merge(outcomes);
}

async function closeTogether(
  store: InvoicingStore,
  rows: readonly CustomerPeriod[],
  prepared: Promise<Prepared>,
  signal: AbortSignal,
): Promise<BatchOutcome> {
  const outcomes: BatchOutcome[] = [];
  let [left, batch] = [rows, await prepared];
  await reopenEmptyPeriods(store, rows, signal);
  for (let attempt = 1; ; attempt++) {
    const closed = await writeBatch(store, batch);
    const failures: CustomerFailure[] = [];
    for (const { row, reason } of batch.failed) failures.push(await noteFailure(store, row, reason));
    const changed = new Set(closed.filter(({ outcome }) => outcome === 'changed').map(({ customerId }) => customerId));
    outcomes.push({ closed: closed.filter(({ customerId }) => !changed.has(customerId)), failures });
    left = left.filter(({ customerId }) => changed.has(customerId));
    if (left.length === 0 || attempt === ATTEMPTS_MAX) return merge(outcomes);
    batch = await prepareBatch(store, left, signal);
  }
}

function merge(outcomes: readonly BatchOutcome[]): BatchOutcome {
  return {
    closed: outcomes.flatMap((outcome) => outcome.closed),
    failures: outcomes.flatMap((outcome) => outcome.failures),
  };
}

/** In a transaction of its own: that of the invoice went back. */
async function noteFailure(
  { db, clock }: BillingStore,
  { customerId, period }: CustomerPeriod,
  reason: unknown,
): Promise<CustomerFailure> {
  await db
    .updateTable('billing_periods')
    .set((builder) => ({
      failures: builder('failures', '+', 1),
      failure: messageOf(reason).slice(0, FAILURE_LENGTH_MAX),
      failed_at: new Date(clock.nowMs()),
    }))
    .where('customer_id', '=', customerId)
    .where('period_start', '=', period.start)
    .where('settled', '=', false)
    .execute();
  return { customerId, reason };
}
