import { CallerFault } from '../../lib/failure.ts';
import { retry } from '../../lib/retry.ts';
import { getCustomer } from '../customers.ts';
import type { Period } from '../period.ts';
import { type PriceSpan, readPriceSpans } from '../plans/price-spans.ts';
import type { RegionUsage } from '../rating/meters.ts';
import { type BillingStore, lockPrices } from '../store.ts';
import { computeInvoice, type MeasuredSpan, spanKey } from './compute-invoice.ts';
import { finalizeInvoice, lockInvoice, storeDraft } from './write-invoice.ts';

/** What is billed comes from here. Times are Unix nanoseconds on whole hours. */
export interface UsageReader {
  /** A customer's usage in `[startNanos, endNanos)` by region, in any order. A query that fails throws: never a zero. */
  sumByRegion(
    customerId: string,
    startNanos: bigint,
    endNanos: bigint,
    signal: AbortSignal,
  ): Promise<readonly RegionUsage[]>;
  /** In how many of those hours there is usage that `sumByRegion` does not count yet. */
  pendingHours(customerId: string, startNanos: bigint, endNanos: bigint, signal: AbortSignal): Promise<number>;
}

export interface InvoicingStore extends BillingStore {
  readonly usage: UsageReader;
  /** How long after its period an invoice stays a draft. */
  readonly graceMs: number;
  /** What invoice numbers start with. Each prefix is counted by itself, from 1. */
  readonly numberPrefix: string;
}

/** `none`: nothing was used. `settled`: the grace is over and all usage was counted, so that nothing is left to do. */
export interface CloseOutcome {
  readonly invoice: 'none' | 'draft' | 'final';
  readonly settled: boolean;
}

const ATTEMPTS_MAX = 3;

/**
 * Computes a customer's invoice of a period that is over. Until the grace is over, and while there is usage that was not
 * rolled up, it is a draft that every run replaces; then it is final. Runs that come later or at the same time change
 * nothing. Without usage there is no invoice.
 * @throws CallerFault failed_precondition where the period is not over, not_found where the customer is not registered
 */
export async function closeCustomer(
  store: InvoicingStore,
  customerId: string,
  period: Period,
  signal: AbortSignal,
): Promise<CloseOutcome> {
  checkOver(store, period);
  return retry(() => closeOnce(store, customerId, period, signal), {
    attemptsMax: ATTEMPTS_MAX,
    delayMs: 10,
    delayMsMax: 100,
    signal,
    retryable: (reason) => reason instanceof PricesChanged,
  });
}

/** @throws CallerFault failed_precondition */
export function checkOver(store: BillingStore, period: Period): void {
  const now = new Date(store.clock.nowMs());
  if (now >= period.end) return;
  const message = `period: ${period.name} is not over before ${period.end.toISOString()}; it is ${now.toISOString()}`;
  throw new CallerFault('failed_precondition', 'period', message);
}

/** Prices changed between reading them and making the invoice final: it has to be computed anew. */
class PricesChanged extends Error {
  constructor(customerId: string, period: Period) {
    super(`prices of customer "${customerId}" in ${period.name} changed while its invoice was made final`);
    this.name = 'PricesChanged';
  }
}

async function closeOnce(
  store: InvoicingStore,
  customerId: string,
  period: Period,
  signal: AbortSignal,
): Promise<CloseOutcome> {
  const graceIsOver = store.clock.nowMs() >= period.end.getTime() + store.graceMs;
  const customer = await getCustomer(store.db, customerId);
  const spans = await readPriceSpans(store.db, customerId, period);
  const { measured, isComplete } = await measure(store.usage, customerId, period, spans, signal);
  const computed = computeInvoice(measured, customer.currency);
  const settled = graceIsOver && isComplete;
  return store.db.transaction().execute(async (transaction) => {
    if (settled) await lockPrices(transaction);
    const existing = await lockInvoice(transaction, customerId, period);
    if (existing?.state === 'final') return { invoice: 'final', settled: true };
    if (settled && !samePriceSpans(spans, await readPriceSpans(transaction, customerId, period))) {
      throw new PricesChanged(customerId, period);
    }
    const at = new Date(store.clock.nowMs());
    const invoiceId = await storeDraft(transaction, { customer, period, computed, existing, at });
    if (invoiceId === undefined) return { invoice: 'none', settled };
    if (!settled) return { invoice: 'draft', settled };
    await finalizeInvoice(transaction, { invoiceId, customer, period, computed, at, numberPrefix: store.numberPrefix });
    return { invoice: 'final', settled };
  });
}

/**
 * Complete where nothing waited for the rollup before the sums were read nor after it: a rollup under way in between may
 * have put some of its hours into the sums and others not.
 */
async function measure(
  usage: UsageReader,
  customerId: string,
  period: Period,
  spans: readonly PriceSpan[],
  signal: AbortSignal,
): Promise<{ measured: MeasuredSpan[]; isComplete: boolean }> {
  const pendingHours = () => usage.pendingHours(customerId, toNanos(period.start), toNanos(period.end), signal);
  const pendingBefore = await pendingHours();
  const measured: MeasuredSpan[] = [];
  for (const span of spans) {
    const sums = await usage.sumByRegion(customerId, toNanos(span.start), toNanos(span.end), signal);
    measured.push({ ...span, usage: sums });
  }
  return { measured, isComplete: pendingBefore === 0 && (await pendingHours()) === 0 };
}

function samePriceSpans(a: readonly PriceSpan[], b: readonly PriceSpan[]): boolean {
  return a.map(spanKey).join() === b.map(spanKey).join();
}

function toNanos(instant: Date): bigint {
  return BigInt(instant.getTime()) * 1_000_000n;
}
