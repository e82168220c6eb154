import { closePeriod } from '../billing/invoice/close-period.ts';
import type { InvoicingStore } from '../billing/invoice/invoicing-store.ts';
import { openPeriods } from '../billing/invoice/open-periods.ts';
import type { Job } from './scheduler.ts';

export interface InvoiceJobOptions {
  readonly schedule: string;
  readonly store: InvoicingStore;
  /** Waits until what this process has acknowledged is stored: billed is then what hosts were told is safe. */
  readonly settle: (signal: AbortSignal) => Promise<void>;
}

const TIMEOUT_MS = 3_600_000;

/** Closes periods that are over: drafts until the grace is over, final invoices after it. A period is named "2026-09". */
export function invoiceJob({ schedule, store, settle }: InvoiceJobOptions): Job {
  return {
    name: 'invoices',
    schedule,
    timeoutMs: TIMEOUT_MS,
    due: () => openPeriods(store),
    async run(period, signal) {
      await settle(signal);
      const { finals, drafts, empty, closed } = await closePeriod(store, period, signal);
      const state = closed ? 'closed' : 'open';
      return `${finals} invoices made final, ${drafts} drafts, ${empty} customers with nothing to bill; the period is ${state}`;
    },
  };
}
