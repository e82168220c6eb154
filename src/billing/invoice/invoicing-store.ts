import type { BillingStore } from '../store.ts';
import type { SpanUsage, UsageRequest } from './invoice-input.ts';

/** A part of a customer's time. Unix nanoseconds, `[startNanos, endNanos)`, on whole seconds. */
export interface CustomerSpan {
  readonly customerId: string;
  readonly startNanos: bigint;
  readonly endNanos: bigint;
}

/** What is billed comes from here. A query that fails throws: never a zero. */
export interface UsageReader {
  /**
   * By request, span and region: regions in their order, each once, none that used nothing. Of rolled-up hours only: it is
   * final only where `pendingCustomers` named nobody both before and after.
   */
  readUsage(requests: readonly UsageRequest[], signal: AbortSignal): Promise<SpanUsage[][][]>;
  /** Those that have usage in the span that `readUsage` does not count yet. */
  pendingCustomers(requests: readonly CustomerSpan[], signal: AbortSignal): Promise<Set<string>>;
  /** For each request, whether any hour of it was computed anew after `sinceNanos`. */
  changedSince(
    requests: readonly (CustomerSpan & { readonly sinceNanos: bigint })[],
    signal: AbortSignal,
  ): Promise<boolean[]>;
  /**
   * The same as `readUsage` for one request, computed from raw windows and not from stored hours.
   * @returns `missingFrom`: before this instant (Unix nanoseconds) windows of the request are no longer kept
   */
  recomputeUsage(
    request: UsageRequest,
    signal: AbortSignal,
  ): Promise<{ usage: SpanUsage[][]; missingFrom: bigint | undefined }>;
}

/** What making, previewing and proving invoices needs. */
export interface InvoicingStore extends BillingStore {
  readonly usage: UsageReader;
  /** How long after its period an invoice stays a draft. */
  readonly graceMs: number;
  /** What invoice numbers start with. Each prefix is counted by itself, from 1. */
  readonly numberPrefix: string;
  /** The same for credit notes. */
  readonly creditNotePrefix: string;
}
