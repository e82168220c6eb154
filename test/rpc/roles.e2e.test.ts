import { create, createRegistry, type DescMethod } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, type ConnectError } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { clientOf } from '../../demo/clients.ts';
import { file_billaged_v1_billing } from '../../gen/billaged/v1/billing_pb.ts';
import { AuditService, file_billing_v1_audit } from '../../gen/billing/v1/audit_pb.ts';
import { file_billing_v1_billaged } from '../../gen/billing/v1/billaged_pb.ts';
import { file_billing_v1_backup } from '../../gen/billing/v1/backup_pb.ts';
import { BillingCollectorService, file_billing_v1_collector } from '../../gen/billing/v1/collector_pb.ts';
import { file_billing_v1_conflicts } from '../../gen/billing/v1/conflicts_pb.ts';
import { CreditNoteService, file_billing_v1_credit_notes } from '../../gen/billing/v1/credit_notes_pb.ts';
import { CustomerService, file_billing_v1_customers } from '../../gen/billing/v1/customers_pb.ts';
import { file_billing_v1_discounts } from '../../gen/billing/v1/discounts_pb.ts';
import { file_billing_v1_invoices, InvoiceService } from '../../gen/billing/v1/invoices_pb.ts';
import { file_billing_v1_jobs, JobService } from '../../gen/billing/v1/jobs_pb.ts';
import { file_billing_v1_keys, KeyRole, KeyService } from '../../gen/billing/v1/keys_pb.ts';
import { file_billing_v1_ledger } from '../../gen/billing/v1/ledger_pb.ts';
import { file_billing_v1_plans } from '../../gen/billing/v1/plans_pb.ts';
import { BillingQueryService, file_billing_v1_query, UsageDimension } from '../../gen/billing/v1/query_pb.ts';
import { file_billing_v1_rates } from '../../gen/billing/v1/rates_pb.ts';
import { file_billing_v1_refused } from '../../gen/billing/v1/refused_pb.ts';
import { file_billing_v1_secrets } from '../../gen/billing/v1/secrets_pb.ts';
import { ServerReflection, ServerReflectionRequestSchema } from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import { aWindow } from '../ingest/a-window.ts';
import { keyFor, meterdForTest } from '../meterd.ts';

// The rollup runs where a test asks for it, and is refused there while it runs already.
const meterd = await meterdForTest({ METERD_ROLLUP_SCHEDULE: '0 0 29 2 *' });
const keys = {
  collector: await keyFor(meterd),
  customer: await keyFor(meterd, { role: KeyRole.CUSTOMER, customerIds: ['acme'] }),
  operator: await keyFor(meterd, { role: KeyRole.OPERATOR }),
  admin: meterd.adminKey,
};
type Role = keyof typeof keys;
const ROLES: Role[] = ['collector', 'customer', 'operator', 'admin'];

const CONTRACT = createRegistry(
  file_billaged_v1_billing,
  file_billing_v1_audit,
  file_billing_v1_backup,
  file_billing_v1_billaged,
  file_billing_v1_collector,
  file_billing_v1_conflicts,
  file_billing_v1_credit_notes,
  file_billing_v1_customers,
  file_billing_v1_discounts,
  file_billing_v1_invoices,
  file_billing_v1_jobs,
  file_billing_v1_keys,
  file_billing_v1_ledger,
  file_billing_v1_plans,
  file_billing_v1_query,
  file_billing_v1_rates,
  file_billing_v1_refused,
  file_billing_v1_secrets,
);

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
  const HOSTS = [
    'SendMetrics',
    'SendMetricsBatch',
    'SendHeartbeat',
    'NotifyVmStarted',
    'NotifyVmStopped',
    'NotifyPossibleGap',
  ];
  const CUSTOMERS = [
    'GetCustomerUsage',
    'GetBillingWindow',
    'StreamLiveUsage',
    'GetCustomer',
    'GetInvoice',
    'ListInvoices',
    'PreviewInvoice',
    'GetInvoiceDocument',
    'VerifyInvoice',
    'ListPayments',
    'GetCreditNote',
    'GetCreditNoteDocument',
    'ListCreditNotes',
  ];
  const ADMINS = [
    'EraseCustomer',
    'CreateBackup',
    'CreateKey',
    'ListKeys',
    'RevokeKey',
    'PutSecret',
    'ListSecrets',
    'DeleteSecret',
    'RotateSecrets',
  ];

  function rolesOf(method: string): Role[] {
    if (HOSTS.includes(method)) return ['collector'];
    if (CUSTOMERS.includes(method)) return ['customer', 'operator', 'admin'];
    return ADMINS.includes(method) ? ['admin'] : ['operator', 'admin'];
  }

  it('may call the methods that it should, and no other, of every service that is served', async () => {
    const services = (await servedServices()).filter((name) => !name.startsWith('grpc.'));
    expect(services.length).toBeGreaterThan(12);
    const methods = services.flatMap((name) => CONTRACT.getService(name)?.methods ?? []);
    expect(methods.map(({ name }) => name)).toEqual(expect.arrayContaining([...HOSTS, ...CUSTOMERS, ...ADMINS]));
    for (const method of methods) {
      const allowed = [];
      for (const role of ROLES) if (await mayCall(method, keys[role])) allowed.push(role);
      expect([method.name, ...allowed]).toEqual([method.name, ...rolesOf(method.name)]);
    }
  }, 60_000);
});

/** What reflection names. */
async function servedServices(): Promise<string[]> {
  const client = clientOf(ServerReflection, meterd.url, '');
  async function* ask() {
    yield create(ServerReflectionRequestSchema, { messageRequest: { case: 'listServices', value: '' } });
  }
  for await (const { messageResponse } of client.serverReflectionInfo(ask())) {
    if (messageResponse.case === 'listServicesResponse') return messageResponse.value.service.map(({ name }) => name);
  }
  throw new Error('reflection did not list the services');
}

/** An empty request does nothing anywhere; whether it is let in is all that is asked. */
async function mayCall(method: DescMethod, key: string): Promise<boolean> {
  const response = await fetch(`${meterd.url}/${method.parent.typeName}/${method.name}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${key}`,
      'content-type': method.methodKind === 'unary' ? 'application/json' : 'application/connect+json',
    },
    // A stream's message comes in an envelope: no flags, two bytes.
    body: method.methodKind === 'unary' ? '{}' : '\0\0\0\0\u0002{}',
    signal: AbortSignal.timeout(20_000),
  });
  if (method.methodKind === 'unary') {
    await response.arrayBuffer();
    return response.status !== 403;
  }
  const reader = response.body?.getReader();
  const first = new TextDecoder().decode((await reader?.read())?.value);
  await reader?.cancel();
  return !first.includes('permission_denied');
}

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
    expect(await codeOf(invoices.previewInvoice({ customerId: 'other' }))).toBe('PermissionDenied');
    const customers = clientOf(CustomerService, meterd.url, keys.customer);
    expect(await codeOf(customers.getCustomer({ customerId: 'other' }))).toBe('PermissionDenied');
    await clientOf(CustomerService, meterd.url, keys.operator).createCustomer({
      customerId: 'acme',
      name: 'Acme',
      currency: 'USD',
    });
    expect((await customers.getCustomer({})).customer).toMatchObject({ customerId: 'acme', registered: true });
    const creditNotes = clientOf(CreditNoteService, meterd.url, keys.customer);
    expect(await codeOf(creditNotes.listCreditNotes({ customerId: 'other' }))).toBe('PermissionDenied');
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
