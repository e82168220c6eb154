import type { ClickHouseClient } from '@clickhouse/client';
import { type CustomerSpan, customersWaiting, spansChangedSince } from './changed-hours.ts';
import { recomputeSpans } from './recompute-spans.ts';
import { select } from './select.ts';
import { readSpans, rolledUpHours, type SpanUsage, storedEstimates, type UsageRequest } from './span-usage.ts';

const CUSTOMERS_MAX = 10_000;

/** What billing asks of usage. Times are Unix nanoseconds. */
export class UsageForBilling {
  readonly #clickhouse: ClickHouseClient;

  constructor(clickhouse: ClickHouseClient) {
    this.#clickhouse = clickhouse;
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
