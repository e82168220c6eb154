import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { clientOf } from '../demo/clients.ts';
import type { MeterdProcess } from '../demo/meterd-process.ts';
import { BillingCollectorService } from '../gen/billing/v1/collector_pb.ts';
import { CustomerService } from '../gen/billing/v1/customers_pb.ts';
import { InvoiceService } from '../gen/billing/v1/invoices_pb.ts';
import { JobService } from '../gen/billing/v1/jobs_pb.ts';
import { KeyRole, KeyService } from '../gen/billing/v1/keys_pb.ts';
import { BillingMetricsSchema } from '../gen/billing/v1/metrics_pb.ts';
import { PlanService } from '../gen/billing/v1/plans_pb.ts';
import { BillingQueryService } from '../gen/billing/v1/query_pb.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const DAYS = 40;
/** For which a window is in each hour. */
const HOURS = 6;

/** A customer with something of everything. */
export interface Tenant {
  readonly customerId: string;
  /** What others may have come to know. */
  readonly ids: readonly string[];
  /** What only an answer about this customer can hold. */
  readonly secrets: readonly string[];
  /** Its usage as meterd tells it, as a text. */
  usage(): Promise<string>;
}

/** Makes a customer with a plan, usage of the last 40 days, an invoice and a key. */
export async function fillTenant({ url, adminKey }: MeterdProcess, name: string): Promise<Tenant> {
  const customerId = `tenant-${name}`;
  const [vmId, hiddenVmId] = [`${name}-vm`, `${name}-hidden-vm`];
  const [title, legalName] = [`Title of ${name}`, `Legal name of ${name}`];
  const firstMs = Math.floor((Date.now() - DAYS * DAY_MS) / DAY_MS) * DAY_MS;
  const customers = clientOf(CustomerService, url, adminKey);
  await customers.createCustomer({ customerId, name: title, currency: 'USD', details: { legalName, country: 'US' } });
  const plans = clientOf(PlanService, url, adminKey);
  const planId = `plan-${name}`;
  const rates = { cpuPerCoreHour: 0.05, memoryPerGbHour: 0.02, diskIoPerGb: 0.01, networkPerGb: 0.01 };
  const since = timestampFromMs(firstMs - DAYS * DAY_MS);
  await plans.publishPlan({ planId, currency: 'USD', validFrom: since, rates });
  await plans.subscribe({ customerId, planId, startsAt: since });

  const keys = clientOf(KeyService, url, adminKey);
  const customerIds = [customerId];
  const host = { name: `host of ${name}`, role: KeyRole.COLLECTOR, regions: ['*'], customerIds, backfill: true };
  const made = await keys.createKey(host);
  const collector = clientOf(BillingCollectorService, url, made.secret);
  for (let day = 0; day < DAYS; day++) {
    const metrics = [vmId, hiddenVmId].flatMap((vm) => windowsOf(customerId, vm, firstMs + day * DAY_MS));
    await collector.sendMetricsBatch({ metrics });
  }
  const jobs = clientOf(JobService, url, adminKey);
  await jobs.runJob({ job: 'rollup' });
  await jobs.runJob({ job: 'invoices', period: lastMonth() });
  const service = clientOf(InvoiceService, url, adminKey);
  const { invoices } = await service.listInvoices({ customerId });
  // Tokens that others were given: of all invoices, and of all customers.
  const tokens = [
    (await service.listInvoices({ pageSize: 1 })).nextPageToken,
    (await customers.listCustomers({ pageSize: 1 })).nextPageToken,
  ];
  const invoiceIds = invoices.map(({ invoiceId }) => invoiceId);
  if (invoiceIds.length === 0) throw new Error(`${customerId} got no invoice`);
  const queries = clientOf(BillingQueryService, url, adminKey);
  const range = { start: timestampFromMs(firstMs), end: timestampFromMs(firstMs + DAYS * DAY_MS) };
  return {
    customerId,
    ids: [customerId, vmId, planId, made.key?.keyId ?? '', ...invoiceIds, ...tokens],
    secrets: [title, legalName, hiddenVmId, customerId, ...invoiceIds],
    usage: async () => {
      const { total } = await queries.getCustomerUsage({ customerId, ...range });
      return JSON.stringify(total, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
    },
  };
}

/** E.g. `2026-09`. */
function lastMonth(): string {
  const now = new Date();
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - 1)).toISOString().slice(0, 7);
}

function windowsOf(customerId: string, vmId: string, dayMs: number) {
  return Array.from({ length: HOURS }, (_, hour) => {
    const startMs = dayMs + hour * 60 * MINUTE_MS;
    return create(BillingMetricsSchema, {
      customerId,
      vmId,
      region: 'us-east1',
      windowStart: timestampFromMs(startMs),
      windowEnd: timestampFromMs(startMs + MINUTE_MS),
      cpuTimeNanos: 60_000_000_000n,
      memoryBytesSeconds: 240_000_000_000n,
      diskReadBytes: 1_000_000_000n,
      networkTxBytes: 1_000_000_000n,
    });
  });
}
