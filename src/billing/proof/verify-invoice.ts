import type { ClickHouseClient } from '@clickhouse/client';
import { computeInvoice } from '../invoice/compute-invoice.ts';
import { decodeInput } from '../invoice/input-text.ts';
import { getInvoice } from '../invoice/read-invoices.ts';
import type { UsageReader } from '../invoice/invoicing-store.ts';
import type { BillingStore } from '../store.ts';
import { proveAudit, proveLedger } from './prove-books.ts';
import { proveInput } from './prove-input.ts';
import { proveLines } from './prove-lines.ts';
import { proveHours, proveWindows } from './prove-usage.ts';
import type { ProofStep } from './proof-step.ts';
import { checkProvable, readStoredInvoice } from './stored-invoice.ts';

export interface ProvingStore extends BillingStore {
  readonly usage: UsageReader;
  readonly clickhouse: ClickHouseClient;
}

export interface Proof {
  readonly proved: boolean;
  /** In the order in which they were made; none behind the first that does not hold. */
  readonly steps: readonly ProofStep[];
}

/**
 * Recomputes an invoice from raw windows to the audit trail, and names the first thing that differs. Writes nothing.
 * @throws CallerFault not_found; failed_precondition of drafts and of invoices stored without their input. NotNow while hours of
 *   its period wait for the rollup. What the engines report: what could not be looked into is not proved
 */
export async function verifyInvoice(store: ProvingStore, idOrNumber: string, signal: AbortSignal): Promise<Proof> {
  const stored = await readStoredInvoice(store.db, idOrNumber);
  checkProvable(stored);
  const first = await proveInput(store.db, stored);
  if (!first.holds) return { proved: false, steps: [first] };
  const input = decodeInput(stored.inputText);
  const computed = computeInvoice(input);
  const invoice = await getInvoice(store.db, stored.invoiceId);
  const further = [
    () => proveWindows(store, stored, input, signal),
    () => proveHours(store, stored, input, signal),
    async () => proveLines(invoice, computed),
    () => proveLedger(store.db, invoice, input, computed),
    () => proveAudit(store.db, store.clickhouse, invoice, signal),
  ];
  const steps = [first];
  for (const prove of further) {
    const step = await prove();
    steps.push(step);
    if (!step.holds) return { proved: false, steps };
  }
  return { proved: true, steps };
}
