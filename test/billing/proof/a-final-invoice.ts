import { appendAuditAll } from '../../../src/audit/trail.ts';
import { createCustomer } from '../../../src/billing/customers.ts';
import { computeInvoice } from '../../../src/billing/invoice/compute-invoice.ts';
import type { InvoiceInput, SpanUsage } from '../../../src/billing/invoice/invoice-input.ts';
import type { UsageReader } from '../../../src/billing/invoice/invoicing-store.ts';
import { writeInvoices } from '../../../src/billing/invoice/write-invoices.ts';
import { parseDecimal } from '../../../src/billing/money.ts';
import { publishPlan } from '../../../src/billing/plans/publish-plan.ts';
import { contentOfRates } from '../../../src/billing/rating/content-json.ts';
import { METRICS } from '../../../src/billing/rating/metrics.ts';
import type { BillingStore } from '../../../src/billing/store.ts';

const RATES = { cpuPerCoreHour: 0.05, memoryPerGbHour: 0.02, diskIoPerGb: 0.01, networkPerGb: 0.01 };
const CORE_HOUR_NANOS = 3_600_000_000_000n;
const PERIOD = {
  name: '2026-09',
  start: new Date('2026-09-01T00:00:00Z'),
  end: new Date('2026-10-01T00:00:00Z'),
};
const NEXT = { name: '2026-10', start: PERIOD.end, end: new Date('2026-11-01T00:00:00Z') };
const NOTHING = {
  cpuTimeNanos: 0n,
  memoryByteSeconds: 0n,
  diskReadBytes: 0n,
  diskWriteBytes: 0n,
  diskReadOps: 0n,
  diskWriteOps: 0n,
  networkRxBytes: 0n,
  networkTxBytes: 0n,
  observedNanos: 0n,
};

/** The worked example's core-hours, of which `hash` is the hash. */
export function usageOf(cores: bigint, hash = `hash of ${cores}`): SpanUsage[] {
  const observed = { ...NOTHING, cpuTimeNanos: cores * CORE_HOUR_NANOS, observedNanos: cores * CORE_HOUR_NANOS };
  return [{ region: 'eu', observed, estimated: NOTHING, hoursHash: hash }];
}

/** What raw windows and stored hours come to, each set by the test. */
export class SetUsage implements UsageReader {
  hours = usageOf(1872n);
  windows = usageOf(1872n);
  isPending = false;
  hasChanged = false;
  missingFrom: bigint | undefined = undefined;

  async readUsage(): Promise<SpanUsage[][][]> {
    return [[this.hours]];
  }

  async pendingCustomers(): Promise<Set<string>> {
    return new Set(this.isPending ? ['acme'] : []);
  }

  async changedSince(): Promise<boolean[]> {
    return [this.hasChanged];
  }

  async recomputeUsage(): Promise<{ usage: SpanUsage[][]; missingFrom: bigint | undefined }> {
    return { usage: [this.windows], missingFrom: this.missingFrom };
  }
}

/** September of one plan, with 19 % VAT. */
export function anInput(change: Partial<InvoiceInput> = {}): InvoiceInput {
  const span = {
    start: PERIOD.start,
    end: PERIOD.end,
    planId: 'basic',
    planVersion: 1,
    content: contentOfRates(RATES),
    metrics: METRICS.filter(({ id }) => ['cpu', 'memory', 'disk_io', 'network'].includes(id)),
    exchange: undefined,
  };
  const rates = [{ name: 'VAT', percent: parseDecimal('19', 'percent') }];
  return {
    customerId: 'acme',
    currency: 'EUR',
    timeZone: 'UTC',
    period: PERIOD,
    spans: [{ ...span, usage: usageOf(1872n) }],
    next: { period: NEXT, spans: [] },
    billedInAdvance: [],
    discounts: [],
    adjustments: [],
    manualLines: [],
    tax: { treatment: 'standard', region: 'DE', rates, pricesIncludeTax: false },
    buyer: { name: 'Acme Ltd', addressLines: [], country: 'DE', taxId: '', email: '' },
    seller: undefined,
    ...change,
  };
}

/** Registers the customer and the plan. */
export async function prepare(store: BillingStore): Promise<void> {
  const validFrom = new Date('2026-01-01T00:00:00Z');
  await createCustomer(store, { customerId: 'acme', name: 'Acme Ltd', currency: 'EUR' }, 'test');
  await publishPlan(store, { planId: 'basic', currency: 'EUR', rates: RATES, validFrom }, 'test');
}

/** Writes the invoice as closing does. @returns its id */
export async function writeInvoice(store: BillingStore, input: InvoiceInput, isFinal = true): Promise<string> {
  const computed = computeInvoice(input);
  const at = new Date(store.clock.nowMs());
  const more = { readAt: at, draft: undefined, isFinal, paymentTermsDays: 30, replacesInvoiceId: undefined };
  return store.db.transaction().execute(async (transaction) => {
    const written = await writeInvoices(transaction, [{ input, computed, ...more }], 'INV-', at);
    await appendAuditAll(transaction, written.audit);
    const [id] = written.invoiceIds;
    if (id === undefined) throw new Error('the invoice of the test has no lines');
    return id;
  });
}
