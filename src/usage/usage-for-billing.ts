import type { ClickHouseClient } from '@clickhouse/client';
import { type CustomerSpan, customersWaiting, spansChangedSince } from './changed-hours.ts';
import { recomputeSpans } from './recompute-spans.ts';
import { select } from './select.ts';
import { readSpans, rolledUpHours, type SpanUsage, storedEstimates, type UsageRequest } from './span-usage.ts';
import { parseUsageSums, usageSums, type UsageSumsRow } from './usage-rows.ts';
import { wholeHours } from './whole-hours.ts';
import type { UsageQuantities } from './window.ts';

export interface RegionUsage extends UsageQuantities {
  readonly region: string;
}

const CUSTOMERS_MAX = 10_000;

/** What billing asks of usage. Times are Unix nanoseconds on whole hours of UTC, at most 400 days apart. */
export class UsageForBilling {
  readonly #clickhouse: ClickHouseClient;

  constructor(clickhouse: ClickHouseClient) {
    this.#clickhouse = clickhouse;
  }

  /**
   * A customer's usage in `[startNanos, endNanos)` by region, in their order, from rolled-up hours only: it is final
   * only where `pendingHours` said 0 both before and after.
   * @throws CallerFault as `wholeHours`; what ClickHouse reports; the signal's reason
   */
  async sumByRegion(
    customerId: string,
    startNanos: bigint,
    endNanos: bigint,
    signal: AbortSignal,
  ): Promise<RegionUsage[]> {
    const range = wholeHours({ startNanos, endNanos });
    const rows = await select<UsageSumsRow & { readonly in_region: string }>(
      this.#clickhouse,
      `SELECT toString(region) AS in_region, ${usageSums('{from:Int64}')} FROM usage_hours FINAL
       WHERE customer_id = {customer:String} AND hour >= toDateTime({from:Int64}, 'UTC') AND hour < toDateTime({until:Int64}, 'UTC')
       GROUP BY in_region ORDER BY in_region`,
      { customer: customerId, ...range },
      signal,
    );
    return rows.map((row) => ({ region: row.in_region, ...parseUsageSums(row) }));
  }

  /**
   * How many hours of the customer, or of all customers together, have windows stored since they were last rolled up.
   * @throws as `sumByRegion`
   */
  async pendingHours(
    customerId: string | undefined,
    startNanos: bigint,
    endNanos: bigint,
    signal: AbortSignal,
  ): Promise<number> {
    const range = wholeHours({ startNanos, endNanos });
    const [row] = await select<{ pending: string }>(
      this.#clickhouse,
      `SELECT uniqExact(customer_id, hour) AS pending FROM touched_hours
       WHERE ${customerId === undefined ? 'true' : 'customer_id = {customer:String}'}
         AND hour >= toDateTime({from:Int64}, 'UTC') AND hour < toDateTime({until:Int64}, 'UTC')`,
      { customer: customerId ?? '', ...range },
      signal,
    );
    if (!row) throw new Error('the count of pending hours came back without its row');
    return Number(row.pending);
  }

  /**
   * By request, span and region, from rolled-up hours only: it is final only where `pendingCustomers` named nobody both
   * before and after. Instants inside an hour cut its raw windows.
   * @throws as `readSpans`
   */
  readUsage(requests: readonly UsageRequest[], signal: AbortSignal): Promise<SpanUsage[][][]> {
    const sources = { hours: rolledUpHours, estimates: storedEstimates };
    return readSpans(this.#clickhouse, requests, sources, signal);
  }

  /** The customers that have usage in their span that `readUsage` does not count yet. */
  pendingCustomers(requests: readonly CustomerSpan[], signal: AbortSignal): Promise<Set<string>> {
    return customersWaiting(this.#clickhouse, requests, signal);
  }

  /** For each request, whether any hour of it was computed anew after `sinceNanos`. */
  changedSince(
    requests: readonly (CustomerSpan & { readonly sinceNanos: bigint })[],
    signal: AbortSignal,
  ): Promise<boolean[]> {
    return spansChangedSince(this.#clickhouse, requests, signal);
  }

  /**
   * The same as `readUsage` for one request, computed from raw windows and not from stored hours.
   * @returns `missingFrom`: before this instant (Unix nanoseconds) windows of the request are no longer kept
   */
  recomputeUsage(
    request: UsageRequest,
    signal: AbortSignal,
  ): Promise<{ usage: SpanUsage[][]; missingFrom: bigint | undefined }> {
    return recomputeSpans(this.#clickhouse, request, signal);
  }

  /** Customers that have usage, rolled up or not, behind `after` in their order; '' is before the first. */
  async meteredCustomers(after: string, limit: number, signal: AbortSignal): Promise<string[]> {
    // Both tables are ordered by customer: each branch reads in order and stops at its limit.
    const some = (table: string) =>
      `SELECT DISTINCT customer_id FROM ${table} WHERE customer_id > {after:String} ORDER BY customer_id LIMIT {limit:UInt32}`;
    const rows = await select<{ customer_id: string }>(
      this.#clickhouse,
      `SELECT DISTINCT customer_id FROM ((${some('usage_hours')}) UNION ALL (${some('touched_hours')}))
       ORDER BY customer_id LIMIT {limit:UInt32}`,
      { after, limit: Math.min(limit, CUSTOMERS_MAX) },
      signal,
    );
    return rows.map((row) => row.customer_id);
  }
}
