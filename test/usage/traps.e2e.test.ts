import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { expect, it } from 'vitest';
import { clientOf } from '../../demo/clients.ts';
import { BillingService } from '../../gen/billaged/v1/billing_pb.ts';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { CustomerService } from '../../gen/billing/v1/customers_pb.ts';
import { GapService } from '../../gen/billing/v1/gaps_pb.ts';
import { InvoiceService, LineKind } from '../../gen/billing/v1/invoices_pb.ts';
import { JobService } from '../../gen/billing/v1/jobs_pb.ts';
import { KeyRole } from '../../gen/billing/v1/keys_pb.ts';
import { CounterTemporality } from '../../gen/billing/v1/metrics_pb.ts';
import { GapPolicy, PlanService } from '../../gen/billing/v1/plans_pb.ts';
import { BillingQueryService, UsageDimension } from '../../gen/billing/v1/query_pb.ts';
import { aSample } from '../ingest/a-reading.ts';
import { aWindow } from '../ingest/a-window.ts';
import { keyFor, meterdForTest } from '../meterd.ts';

/** No job runs but those that the test asks for. */
const NEVER = '0 0 29 2 *';
const meterd = await meterdForTest({ METERD_ROLLUP_SCHEDULE: NEVER, METERD_INVOICE_SCHEDULE: NEVER });
const hostKey = await keyFor(meterd, {
  backfill: true,
  billagedCounters: CounterTemporality.CUMULATIVE,
  regions: ['eu'],
});
const customerKey = await keyFor(meterd, { role: KeyRole.CUSTOMER, customerIds: ['acme'] });
const host = clientOf(BillingService, meterd.url, hostKey);
const collector = clientOf(BillingCollectorService, meterd.url, hostKey);
const plans = clientOf(PlanService, meterd.url, meterd.adminKey);
const invoices = clientOf(InvoiceService, meterd.url, meterd.adminKey);
const jobs = clientOf(JobService, meterd.url, meterd.adminKey);
const queries = clientOf(BillingQueryService, meterd.url, customerKey);

const now = new Date();
const monthStart = (monthsAgo: number) => Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - monthsAgo);
const [startMs, nextMs] = [monthStart(3), monthStart(2)];
const periodOf = (ms: number) => new Date(ms).toISOString().slice(0, 7);
const at = (minute: number) => startMs + minute * 60_000;
const nanosAt = (minute: number) => BigInt(at(minute)) * 1_000_000n;
const MINUTE_NANOS = 60_000_000_000n;
/** What the counter has when the VM is first seen. */
const LIFETIME = 10n ** 17n;

/** Sends samples of VM `metered`, whose counter has so much CPU time at each minute. */
async function sample(...readings: (readonly [minute: number, cpuTimeNanos: bigint])[]): Promise<void> {
  const metrics = readings.map(([minute, cpuTimeNanos]) => {
    const timestamp = timestampFromMs(at(minute));
    if (cpuTimeNanos > 0n) return aSample({ timestamp, cpuTimeNanos });
    const none = {
      memoryUsageBytes: 0n,
      diskReadBytes: 0n,
      diskWriteBytes: 0n,
      networkRxBytes: 0n,
      networkTxBytes: 0n,
    };
    return aSample({ timestamp, cpuTimeNanos, ...none });
  });
  const answer = await host.sendMetricsBatch({ vmId: 'metered', customerId: 'acme', metrics });
  expect(answer).toMatchObject({ success: true, message: '' });
}

/** Sends windows of VM `windowed`, from a minute to another, with so much CPU time in each. */
async function send(from: number, until: number, cpuTimeNanos: bigint): Promise<void> {
  const metrics = Array.from({ length: until - from }, (_, index) => {
    const [windowStart, windowEnd] = [timestampFromMs(at(from + index)), timestampFromMs(at(from + index + 1))];
    const ids = { vmId: 'windowed', customerId: 'acme', region: 'eu' };
    return aWindow({ ...ids, windowStart, windowEnd, timestamp: windowEnd, cpuTimeNanos });
  });
  expect(await collector.sendMetricsBatch({ metrics })).toMatchObject({ accepted: until - from, refused: 0 });
}

async function close(period: string) {
  await jobs.runJob({ job: 'invoices', period });
  const listed = await invoices.listInvoices({ customerId: 'acme', period });
  const [invoice] = listed.invoices;
  if (invoice === undefined) throw new Error(`no invoice for ${period}`);
  const { invoice: whole } = await invoices.getInvoice({ invoiceId: invoice.invoiceId });
  if (whole === undefined) throw new Error(`invoice ${invoice.invoiceId} came back without itself`);
  return whole;
}

it('bills counters and gaps as the traps of hosts demand, and corrects the bill when the real windows come', async () => {
  // A core-minute costs 1 EUR.
  const price = { case: 'unitPrice', value: { price: '60' } } as const;
  const content = { charges: [{ chargeId: 'cpu', metric: 'cpu', model: price }], gapPolicy: GapPolicy.CARRY };
  await clientOf(CustomerService, meterd.url, meterd.adminKey).createCustomer({
    customerId: 'acme',
    name: 'Acme',
    currency: 'EUR',
  });
  await plans.savePlanDraft({ planId: 'filled', currency: 'EUR', content });
  await plans.publishPlanDraft({ planId: 'filled', revision: 1, validFrom: timestampFromMs(startMs) });
  await plans.subscribe({ customerId: 'acme', planId: 'filled', startsAt: timestampFromMs(startMs) });

  // 13 core-minutes, with a failed read, sent in no order and twice; then two in a new boot.
  const total = (minutes: bigint) => LIFETIME + minutes * MINUTE_NANOS;
  await sample([10, total(10n)], [11, 0n], [12, total(12n)], [13, total(13n)]);
  await sample([0, LIFETIME], [5, total(5n)], [10, total(10n)]);
  expect(await host.notifyVmStopped({ vmId: 'metered', stopTime: nanosAt(13) })).toMatchObject({ success: true });
  const started = { vmId: 'metered', customerId: 'acme', startTime: nanosAt(20) };
  expect(await host.notifyVmStarted(started)).toMatchObject({ success: true });
  await sample([21, MINUTE_NANOS], [22, 2n * MINUTE_NANOS]);
  // 16 core-minutes, and five minutes without a window.
  await send(0, 10, MINUTE_NANOS);
  await send(15, 21, MINUTE_NANOS);

  await jobs.runJob({ job: 'rollup' });
  const range = { start: timestampFromMs(startMs), end: timestampFromMs(nextMs) };
  const { groups } = await queries.getCustomerUsage({ ...range, groupBy: [UsageDimension.MONTH, UsageDimension.VM] });
  expect(groups.map(({ vmId, quantities }) => [vmId, quantities?.cpuTimeNanos, quantities?.observedNanos])).toEqual([
    ['metered', String(15n * MINUTE_NANOS), String(15n * MINUTE_NANOS)],
    ['windowed', String(16n * MINUTE_NANOS), String(16n * MINUTE_NANOS)],
  ]);
  const { gaps } = await clientOf(GapService, meterd.url, customerKey).listGaps(range);
  expect(gaps).toMatchObject([{ vmId: 'windowed', start: timestampFromMs(at(10)), end: timestampFromMs(at(15)) }]);
  expect(gaps[0]?.carried?.cpuTimeNanos).toBe(String(5n * MINUTE_NANOS));
  const others = clientOf(GapService, meterd.url, customerKey).listGaps({ ...range, customerId: 'another' });
  await expect(others).rejects.toMatchObject({ code: Code.PermissionDenied });

  const first = await close(periodOf(startMs));
  expect(first.lines.map(({ amount, quantity }) => [amount, quantity])).toEqual([['36.00', '0.6']]);
  expect(first.lines[0]?.estimated).toMatch(/^0\.08333/);
  const verify = async () => invoices.verifyInvoice({ invoiceId: first.invoiceId });
  expect(await verify()).toMatchObject({ proved: true });

  // What had really been used: half of what was carried.
  await send(10, 15, MINUTE_NANOS / 2n);
  await jobs.runJob({ job: 'rollup' });
  const second = await close(periodOf(nextMs));
  expect(second.lines.map(({ kind, amount, adjustsInvoiceId }) => [kind, amount, adjustsInvoiceId])).toEqual([
    [LineKind.ADJUSTMENT, '-2.50', first.invoiceId],
  ]);
  expect(second.lines[0]?.estimated).toMatch(/^-0\.08333/);
  const proof = await verify();
  expect(proof.proved).toBe(true);
  expect(proof.steps.find((step) => step.name === 'hours')?.detail).toContain(`adjusted by ${second.number}`);
}, 240_000);
