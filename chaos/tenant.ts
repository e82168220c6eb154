import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { setTimeout as wait } from 'node:timers/promises';
import { clientOf } from '../demo/clients.ts';
import type { MeterdProcess } from '../demo/meterd-process.ts';
import { BillingCollectorService } from '../gen/billing/v1/collector_pb.ts';
import { CreditNoteService } from '../gen/billing/v1/credit_notes_pb.ts';
import { CustomerService } from '../gen/billing/v1/customers_pb.ts';
import { InvoiceService } from '../gen/billing/v1/invoices_pb.ts';
import { KeyRole, KeyService } from '../gen/billing/v1/keys_pb.ts';
import { BillingMetricsSchema } from '../gen/billing/v1/metrics_pb.ts';
import { PlanService } from '../gen/billing/v1/plans_pb.ts';
import { BillingQueryService } from '../gen/billing/v1/query_pb.ts';
import { runJob } from './run-job.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** Days up to today with windows in them. */
export const DAYS = 40;
/** For which a window is in each day, from midnight on: what lies between them are gaps. */
export const HOURS = 6;
const REGION = 'us-east1';
const LIVE_PAUSE_MS = 150;

/** A minute of a core, in nanoseconds. */
const USUAL_UNIT = 60_000_000_000n;

/** A customer with something of everything. */
export interface Tenant {
  readonly customerId: string;
  /** What others may have come to know, by what it names. */
  readonly ids: Readonly<Record<'vm' | 'invoice' | 'creditNote' | 'other', readonly string[]>>;
  /** Midnight of the first day with windows in it. */
  readonly firstMs: number;
  /** What an answer tells of this customer that was not in the request. */
  tells(answer: string, request: string): string[];
  /** Its usage of all days before today as meterd tells it, as a text. */
  usage(): Promise<string>;
  /** Sends a meterd windows of this very minute, of ever new VMs, until `signal` fires: so that its live streams have something to tell. */
  sendLive(toUrl: string, signal: AbortSignal): Promise<void>;
}

/**
 * Makes a customer with a plan, usage of the last 40 days, a final invoice, payments, credit notes and a key.
 * @param unit every quantity is a multiple of it. Where it is large and has no factor in common with another's, a sum tells whose
 * it is
 */
export async function fillTenant(meterd: MeterdProcess, name: string, unit = USUAL_UNIT): Promise<Tenant> {
  const { url, adminKey } = meterd;
  const customerId = `tenant-${name}`;
  const [vmId, hiddenVmId, liveVmId] = [`${name}-vm`, `${name}-hidden-vm`, `${name}-live-vm`];
  const [title, legalName] = [`Title of ${name}`, `Legal name of ${name}`];
  const firstMs = Math.floor(Date.now() / DAY_MS - DAYS) * DAY_MS;
  const customers = clientOf(CustomerService, url, adminKey);
  await customers.createCustomer({ customerId, name: title, currency: 'USD', details: { legalName, country: 'US' } });
  const plans = clientOf(PlanService, url, adminKey);
  const planId = `plan-${name}`;
  const rates = { cpuPerCoreHour: 0.05, memoryPerGbHour: 0.02, diskIoPerGb: 0.01, networkPerGb: 0.01 };
  const since = timestampFromMs(firstMs - DAYS * DAY_MS);
  await plans.publishPlan({ planId, currency: 'USD', validFrom: since, rates });
  await plans.subscribe({ customerId, planId, startsAt: since });

  const made = await clientOf(KeyService, url, adminKey).createKey({
    name: `host of ${name}`,
    role: KeyRole.COLLECTOR,
    regions: ['*'],
    customerIds: [customerId],
    backfill: true,
  });
  const collector = clientOf(BillingCollectorService, url, made.secret);
  for (let day = 0; day < DAYS; day++) {
    const startsMs = Array.from({ length: HOURS }, (_, hour) => firstMs + day * DAY_MS + hour * HOUR_MS);
    const metrics = [vmId, hiddenVmId].flatMap((vm) => startsMs.map((ms) => windowOf({ customerId, unit }, vm, ms)));
    await collector.sendMetricsBatch({ metrics });
  }
  const papers = await fillPapers(meterd, customerId, name);
  const queries = clientOf(BillingQueryService, url, adminKey);
  const range = { start: timestampFromMs(firstMs), end: timestampFromMs(firstMs + DAYS * DAY_MS) };
  const secrets = [title, legalName, hiddenVmId, liveVmId, customerId, ...papers.secrets];
  const { invoice, creditNote } = papers;
  let liveCount = 0;
  return {
    customerId,
    ids: { vm: [vmId], invoice, creditNote, other: [planId, made.key?.keyId ?? ''] },
    firstMs,
    tells: (answer, request) => {
      const told = secrets.filter((secret) => answer.includes(secret) && !request.includes(secret));
      return [...told, ...multiplesIn(answer, unit)];
    },
    usage: async () => {
      const { total, completeness } = await queries.getCustomerUsage({ customerId, ...range });
      return JSON.stringify([total, completeness], (_, value: unknown) =>
        typeof value === 'bigint' ? String(value) : value,
      );
    },
    sendLive: async (toUrl, signal) => {
      const live = clientOf(BillingCollectorService, toUrl, made.secret);
      for (; !signal.aborted; liveCount++) {
        const startMs = Math.floor(Date.now() / MINUTE_MS - 1) * MINUTE_MS;
        const metrics = [windowOf({ customerId, unit }, `${liveVmId}-${liveCount}`, startMs)];
        await live.sendMetricsBatch({ metrics });
        await wait(LIVE_PAUSE_MS);
      }
    },
  };
}

/** E.g. `2026-09`: the month that is over. */
export function lastMonth(): string {
  const now = new Date();
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - 1)).toISOString().slice(0, 7);
}

interface Papers {
  readonly invoice: readonly string[];
  readonly creditNote: readonly string[];
  readonly secrets: readonly string[];
}

/** An invoice, made final where meterd gives no grace, with two payments and two credit notes. */
async function fillPapers(meterd: MeterdProcess, customerId: string, name: string): Promise<Papers> {
  const { url, adminKey } = meterd;
  await runJob(meterd, 'rollup');
  await runJob(meterd, 'invoices', lastMonth());
  const invoices = clientOf(InvoiceService, url, adminKey);
  const [invoice] = (await invoices.listInvoices({ customerId, period: lastMonth() })).invoices;
  if (invoice === undefined || invoice.number === '') throw new Error(`${customerId} got no final invoice`);
  const { invoiceId, number } = invoice;
  const notes = clientOf(CreditNoteService, url, adminKey);
  const [creditNote, secrets] = [[] as string[], [invoiceId, number]];
  for (const nth of [1, 2]) {
    const [reference, reason] = [`Reference ${nth} of ${name}`, `Reason ${nth} of ${name}`];
    const payment = { idempotencyKey: `${name}-${nth}`, invoiceId, amount: `0.0${nth}`, method: 'bank', reference };
    const paid = await invoices.recordPayment({ ...payment, paidAt: timestampFromMs(Date.now()) });
    const lines = [{ invoiceLine: 1, amount: '0.01' }];
    const noted = await notes.createCreditNote({ idempotencyKey: `${name}-${nth}`, invoiceId, reason, lines });
    const { creditNoteId = '', number: noteNumber = '' } = noted.creditNote ?? {};
    creditNote.push(creditNoteId);
    secrets.push(reference, reason, paid.payment?.paymentId ?? '', creditNoteId, noteNumber);
  }
  return { invoice: [invoiceId, number], creditNote, secrets };
}

function windowOf({ customerId, unit }: { customerId: string; unit: bigint }, vmId: string, startMs: number) {
  return create(BillingMetricsSchema, {
    customerId,
    vmId,
    region: REGION,
    windowStart: timestampFromMs(startMs),
    windowEnd: timestampFromMs(startMs + MINUTE_MS),
    cpuTimeNanos: unit,
    memoryBytesSeconds: 4n * unit,
    diskReadBytes: unit,
    networkTxBytes: unit,
  });
}

/** Numbers above 0 that are multiples of a large one: by chance there is none. */
function multiplesIn(answer: string, unit: bigint): string[] {
  const numbers = answer.match(/(?<![\d.])\d{10,}(?![\d.])/g) ?? [];
  return numbers.filter((number) => BigInt(number) > 0n && BigInt(number) % unit === 0n);
}
