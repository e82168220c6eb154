import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, type ConnectError } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { clientOf } from '../../demo/clients.ts';
import { AuditService } from '../../gen/billing/v1/audit_pb.ts';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { CustomerService } from '../../gen/billing/v1/customers_pb.ts';
import { InvoiceService } from '../../gen/billing/v1/invoices_pb.ts';
import { JobService } from '../../gen/billing/v1/jobs_pb.ts';
import { KeyRole, KeyService } from '../../gen/billing/v1/keys_pb.ts';
import { PlanService } from '../../gen/billing/v1/plans_pb.ts';
import { BillingQueryService, UsageDimension } from '../../gen/billing/v1/query_pb.ts';
import { aWindow } from '../ingest/a-window.ts';
import { keyFor, meterdForTest } from '../meterd.ts';

const meterd = await meterdForTest();
const keys = {
  collector: await keyFor(meterd),
  customer: await keyFor(meterd, { role: KeyRole.CUSTOMER, customerIds: ['acme'] }),
  operator: await keyFor(meterd, { role: KeyRole.OPERATOR }),
  admin: meterd.adminKey,
};
type Role = keyof typeof keys;
const ROLES: Role[] = ['collector', 'customer', 'operator', 'admin'];

const HOUR_MS = 3_600_000;
const hourMs = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - HOUR_MS;
const range = { start: timestampFromMs(hourMs), end: timestampFromMs(hourMs + HOUR_MS) };

/** A minute of the last full hour. */
function windowOf(customerId: string, vmId: string, minute = 0) {
  const startMs = hourMs + minute * 60_000;
  const windowStart = timestampFromMs(startMs);
  const windowEnd = timestampFromMs(startMs + 60_000);
  return aWindow({ customerId, vmId, windowStart, windowEnd, timestamp: windowEnd });
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  const outcome = await call.then(
    () => 'ok',
    (reason: ConnectError) => Code[reason.code],
  );
  return outcome;
}

describe('each role', () => {
  const table: [string, (key: string) => Promise<unknown>, Role[]][] = [
    [
      'SendMetricsBatch',
      (key) =>
        clientOf(BillingCollectorService, meterd.url, key).sendMetricsBatch({ metrics: [windowOf('acme', 'vm-1')] }),
      ['collector'],
    ],
    [
      'GetCustomerUsage',
      (key) => clientOf(BillingQueryService, meterd.url, key).getCustomerUsage({ customerId: 'acme', ...range }),
      ['customer', 'operator', 'admin'],
    ],
    [
      'ListInvoices',
      (key) => clientOf(InvoiceService, meterd.url, key).listInvoices({}),
      ['customer', 'operator', 'admin'],
    ],
    ['ListCustomers', (key) => clientOf(CustomerService, meterd.url, key).listCustomers({}), ['operator', 'admin']],
    ['ListPlans', (key) => clientOf(PlanService, meterd.url, key).listPlans({}), ['operator', 'admin']],
    ['ListJobRuns', (key) => clientOf(JobService, meterd.url, key).listJobRuns({}), ['operator', 'admin']],
    ['ListAuditRecords', (key) => clientOf(AuditService, meterd.url, key).listAuditRecords({}), ['operator', 'admin']],
    ['ListKeys', (key) => clientOf(KeyService, meterd.url, key).listKeys({}), ['admin']],
  ];
  it.each(table)('may call %s where it should, and nowhere else', async (_, call, allowed) => {
    for (const role of ROLES) {
      const expected = allowed.includes(role) ? 'ok' : 'PermissionDenied';
      expect([role, await codeOf(call(keys[role]))]).toEqual([role, expected]);
    }
  });
});

describe('a customer key', () => {
  const queries = clientOf(BillingQueryService, meterd.url, keys.customer);

  it('sees its own customer, named or not, and no other', async () => {
    const named = await queries.getCustomerUsage({ customerId: 'acme', ...range });
    const unnamed = await queries.getCustomerUsage(range);
    expect(unnamed.total).toEqual(named.total);
    expect(await codeOf(queries.getCustomerUsage({ customerId: 'other', ...range }))).toBe('PermissionDenied');
    const window = { vmId: 'vm-1', windowStart: range.start };
    expect(await codeOf(queries.getBillingWindow({ customerId: 'other', ...window }))).toBe('PermissionDenied');
    const stream = queries.streamLiveUsage({ customerId: 'other' });
    expect(await codeOf(stream[Symbol.asyncIterator]().next())).toBe('PermissionDenied');
    const invoices = clientOf(InvoiceService, meterd.url, keys.customer);
    expect(await codeOf(invoices.listInvoices({ customerId: 'other' }))).toBe('PermissionDenied');
  });
});

describe('a revoked key', () => {
  it('ends at once on the process that revoked it', async () => {
    const made = await clientOf(KeyService, meterd.url, keys.admin).createKey({
      name: 'short',
      role: KeyRole.OPERATOR,
    });
    const customers = clientOf(CustomerService, meterd.url, made.secret);
    expect(await codeOf(customers.listCustomers({}))).toBe('ok');
    await clientOf(KeyService, meterd.url, keys.admin).revokeKey({ keyId: made.key?.keyId ?? '' });
    expect(await codeOf(customers.listCustomers({}))).toBe('Unauthenticated');
  });
});

describe('a customer that nobody registered', () => {
  it('is metered, shown to operators, and seen as registered once it is', async () => {
    const collector = clientOf(BillingCollectorService, meterd.url, keys.collector);
    const metrics = [0, 1, 2].map((minute) => windowOf('stranger', 'vm-9', minute));
    expect(await collector.sendMetricsBatch({ metrics })).toMatchObject({ accepted: 3 });
    await clientOf(JobService, meterd.url, keys.operator).runJob({ job: 'rollup' });
    const usage = await clientOf(BillingQueryService, meterd.url, keys.operator).getCustomerUsage({
      customerId: 'stranger',
      groupBy: [UsageDimension.VM],
      ...range,
    });
    expect(usage.groups).toMatchObject([{ vmId: 'vm-9', quantities: { windows: 3n, cpuTimeNanos: '180000000000' } }]);

    const customers = clientOf(CustomerService, meterd.url, keys.operator);
    const unregistered = async () => (await customers.listCustomers({ unregisteredOnly: true })).customers;
    expect(await unregistered()).toContainEqual(expect.objectContaining({ customerId: 'stranger', registered: false }));
    await customers.createCustomer({ customerId: 'stranger', name: 'No longer one', currency: 'EUR' });
    expect((await unregistered()).map((customer) => customer.customerId)).not.toContain('stranger');
    const all = await customers.listCustomers({});
    expect(all.customers).toContainEqual(expect.objectContaining({ customerId: 'stranger', registered: true }));
  });
});

describe('the right to backfill', () => {
  it('is audited when it is used', async () => {
    const key = await keyFor(meterd, { backfill: true });
    const old = Date.UTC(2026, 0, 15);
    const window = { windowStart: timestampFromMs(old), windowEnd: timestampFromMs(old + 60_000) };
    const metrics = [aWindow({ ...window, vmId: 'old', timestamp: undefined })];
    const collector = clientOf(BillingCollectorService, meterd.url, key);
    expect(await collector.sendMetricsBatch({ metrics })).toMatchObject({ accepted: 1 });
    const audit = clientOf(AuditService, meterd.url, keys.operator);
    const used = async () =>
      (await audit.listAuditRecords({})).records.filter(({ action }) => action === 'backfill.used');
    await expect.poll(used, { timeout: 15_000 }).toHaveLength(1);
    const [record] = await used();
    expect(record?.actor).toBe(key.split('_')[1]);
    expect(JSON.parse(record?.detail ?? '')).toEqual({
      windows: 1,
      from: '2026-01-15T00:00:00.000Z',
      to: '2026-01-15T00:01:00.000Z',
    });
  });
});

describe('one window', () => {
  it('is found with where it came from', async () => {
    const collector = clientOf(BillingCollectorService, meterd.url, keys.collector);
    const metrics = windowOf('acme', 'vm-7', 30);
    expect(await collector.sendMetrics({ metrics, instanceId: 'metald-1', sequence: 7n })).toMatchObject({
      accepted: true,
    });
    const other = { ...metrics, region: 'eu-west1' };
    expect(await codeOf(collector.sendMetrics({ metrics: other }))).toBe('AlreadyExists');
    await clientOf(JobService, meterd.url, keys.operator).runJob({ job: 'rollup' });
    const found = await clientOf(BillingQueryService, meterd.url, keys.operator).getBillingWindow({
      customerId: 'acme',
      vmId: 'vm-7',
      ...(metrics.windowStart ? { windowStart: metrics.windowStart } : {}),
    });
    expect(found.report).toMatchObject({
      metrics,
      credentialId: keys.collector.split('_')[1],
      instanceId: 'metald-1',
      sequence: 7n,
    });
    expect(found.conflicting).toMatchObject([{ metrics: { region: 'eu-west1' } }]);
    expect(found.hours).toMatchObject([{ start: range.start, rolledUp: true, share: { cpuTimeNanos: '60000000000' } }]);
  });
});
