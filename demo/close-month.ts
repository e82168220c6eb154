import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Invoice, InvoiceService } from '../gen/billing/v1/invoices_pb.ts';
import { JobService } from '../gen/billing/v1/jobs_pb.ts';
import { BillingQueryService, type GetCustomerUsageResponse, UsageDimension } from '../gen/billing/v1/query_pb.ts';
import { clientOf } from './clients.ts';
import type { Target } from './set-up.ts';
import type { WorkedExample } from './worked-example.ts';

/** Rolls up what was sent and closes the month. */
export async function closeMonth(target: Target, example: WorkedExample): Promise<void> {
  const jobs = clientOf(JobService, target.url, target.adminKey);
  await jobs.runJob({ job: 'rollup' });
  await jobs.runJob({ job: 'invoices', period: example.period });
}

/** The month's usage by region, with its total and how complete it is. */
export async function readUsage(target: Target, example: WorkedExample): Promise<GetCustomerUsageResponse> {
  const queries = clientOf(BillingQueryService, target.url, target.adminKey);
  return queries.getCustomerUsage({
    customerId: example.customerId,
    start: timestampFromMs(example.startMs),
    end: timestampFromMs(example.endMs),
    groupBy: [UsageDimension.REGION],
  });
}

/** The month's one invoice. @throws Error where there is none, or more than one */
export async function readInvoice(target: Target, example: WorkedExample): Promise<Invoice> {
  const { customerId, startMs } = example;
  const { invoices } = await clientOf(InvoiceService, target.url, target.adminKey).listInvoices({ customerId });
  const ofMonth = invoices.filter((invoice) => Number(invoice.periodStart?.seconds) * 1000 === startMs);
  const [invoice] = ofMonth;
  if (invoice === undefined || ofMonth.length > 1) {
    throw new Error(`there are ${ofMonth.length} invoices of ${example.period}, not one`);
  }
  return invoice;
}
