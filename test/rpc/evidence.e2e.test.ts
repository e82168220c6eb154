import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { clientOf } from '../../demo/clients.ts';
import { AuditService } from '../../gen/billing/v1/audit_pb.ts';
import { BillingCollectorService } from '../../gen/billing/v1/collector_pb.ts';
import { ConflictService } from '../../gen/billing/v1/conflicts_pb.ts';
import { CustomerService } from '../../gen/billing/v1/customers_pb.ts';
import { JobService } from '../../gen/billing/v1/jobs_pb.ts';
import { KeyRole } from '../../gen/billing/v1/keys_pb.ts';
import { BillingQueryService, UsageDimension } from '../../gen/billing/v1/query_pb.ts';
import { RefusedWindowService } from '../../gen/billing/v1/refused_pb.ts';
import { aWindow } from '../ingest/a-window.ts';
import { keyFor, meterdForTest } from '../meterd.ts';

const meterd = await meterdForTest();
const collectorKey = await keyFor(meterd);
const customerKey = await keyFor(meterd, { role: KeyRole.CUSTOMER, customerIds: ['acme'] });
const operatorKey = await keyFor(meterd, { role: KeyRole.OPERATOR });

const collector = clientOf(BillingCollectorService, meterd.url, collectorKey);
const conflicts = clientOf(ConflictService, meterd.url, operatorKey);
const refused = clientOf(RefusedWindowService, meterd.url, operatorKey);
const jobs = clientOf(JobService, meterd.url, operatorKey);

const HOUR_MS = 3_600_000;
const hourMs = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - HOUR_MS;
const range = { start: timestampFromMs(hourMs), end: timestampFromMs(hourMs + HOUR_MS) };

function windowOf(vmId: string, minute: number, region = 'eu-north1') {
  const startMs = hourMs + minute * 60_000;
  const [windowStart, windowEnd] = [timestampFromMs(startMs), timestampFromMs(startMs + 60_000)];
  return aWindow({ customerId: 'acme', vmId, region, windowStart, windowEnd, timestamp: windowEnd });
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'ok';
  } catch (reason) {
    return Code[ConnectError.from(reason).code] ?? '?';
  }
}

async function regions(): Promise<string[]> {
  const queries = clientOf(BillingQueryService, meterd.url, customerKey);
  const { groups } = await queries.getCustomerUsage({ ...range, groupBy: [UsageDimension.REGION] });
  return groups.map(({ region, quantities }) => `${region} ${quantities?.windows}`);
}

describe('a refused window', () => {
  it('is shown with the key that sent it and the reason', async () => {
    const bad = windowOf('vm-bad', 0, '');
    const answer = await collector.sendMetricsBatch({ metrics: [bad, windowOf('vm-good', 0)], instanceId: 'metald-9' });
    expect(answer).toMatchObject({ accepted: 1, refused: 1 });
    const found = async () => (await refused.listRefusedWindows({ customerId: 'acme' })).windows;
    await expect.poll(found, { timeout: 20_000 }).toHaveLength(1);
    const credentialId = collectorKey.split('_')[1] ?? '';
    expect(await found()).toMatchObject([
      { credentialId, instanceId: 'metald-9', metrics: bad, code: 'invalid_argument', field: 'region' },
    ]);
    expect((await refused.listRefusedWindows({ credentialId: 'another' })).windows).toEqual([]);
    // The second one has a time that no answer has: it passes 63 bits.
    const late = Buffer.from('9999999999999999999 00000000-0000-4000-8000-000000000000').toString('base64url');
    for (const pageToken of ['no token', late]) {
      expect(await codeOf(refused.listRefusedWindows({ pageToken }))).toBe('InvalidArgument');
    }
  });
});

describe('a conflict', () => {
  it('is listed, and decided by an operator: the chosen report counts, and the trail says so', async () => {
    await collector.sendMetrics({ metrics: windowOf('vm-1', 3) });
    const other = windowOf('vm-1', 3, 'us-east1');
    expect(await codeOf(collector.sendMetrics({ metrics: other }))).toBe('AlreadyExists');
    await jobs.runJob({ job: 'rollup' });
    expect(await regions()).toEqual(['eu-north1 2']);
    const [conflict] = (await conflicts.listConflicts({ customerId: 'acme', ...range })).conflicts;
    expect(conflict?.reports.map((report) => report.metrics?.region)).toEqual(['eu-north1', 'us-east1']);
    expect(conflict?.resolution).toBeUndefined();

    const valueHash = conflict?.reports[1]?.valueHash ?? '';
    const { windowStart, windowEnd } = other;
    const key = {
      customerId: 'acme',
      vmId: 'vm-1',
      ...(windowStart && { windowStart }),
      ...(windowEnd && { windowEnd }),
    };
    const choice = { ...key, valueHash, reason: 'the host in eu-north1 was gone' };
    const resolved = await conflicts.resolveConflict(choice);
    expect(resolved.conflict?.resolution).toMatchObject({ valueHash, resolvedBy: operatorKey.split('_')[1] });
    expect(await codeOf(conflicts.resolveConflict({ ...choice, valueHash: 'x' }))).toBe('InvalidArgument');
    expect(await regions()).toEqual(['eu-north1 1', 'us-east1 1']);
    await jobs.runJob({ job: 'rollup' });
    expect(await regions()).toEqual(['eu-north1 1', 'us-east1 1']);
    expect((await conflicts.listConflicts({ customerId: 'acme', ...range })).conflicts).toEqual([]);
    const all = await conflicts.listConflicts({ ...range, includeResolved: true });
    expect(all.conflicts).toEqual([resolved.conflict]);
    const audit = clientOf(AuditService, meterd.url, operatorKey);
    const { records } = await audit.listAuditRecords({ actionPrefix: 'conflict.' });
    expect(records).toMatchObject([{ action: 'conflict.resolved', subject: 'acme' }]);
    expect(JSON.parse(records[0]?.detail ?? '')).toMatchObject({ vm_id: 'vm-1', value_hash: valueHash });
  });
});

describe('retention', () => {
  it('runs, and removes nothing that is new', async () => {
    expect((await jobs.runJob({ job: 'retention' })).run).toMatchObject({ detail: 'nothing has expired' });
    expect(await regions()).toEqual(['eu-north1 1', 'us-east1 1']);
  });
});

describe('an erasure', () => {
  it('is for admins; usage, refused windows and keys go, and the receipt says what', async () => {
    const request = { customerId: 'acme', reason: 'asked by the customer' };
    for (const key of [collectorKey, customerKey, operatorKey]) {
      expect(await codeOf(clientOf(CustomerService, meterd.url, key).eraseCustomer(request))).toBe('PermissionDenied');
    }
    for (const key of [collectorKey, customerKey]) {
      expect(await codeOf(clientOf(CustomerService, meterd.url, key).listErasures({}))).toBe('PermissionDenied');
      expect(await codeOf(clientOf(ConflictService, meterd.url, key).listConflicts(range))).toBe('PermissionDenied');
      const windows = clientOf(RefusedWindowService, meterd.url, key);
      expect(await codeOf(windows.listRefusedWindows({}))).toBe('PermissionDenied');
    }
    const customers = clientOf(CustomerService, meterd.url, meterd.adminKey);
    const { receipt } = await customers.eraseCustomer(request);
    expect(receipt).toMatchObject({ customerId: 'acme', reason: request.reason });
    expect(receipt?.completedAt).toBeDefined();
    expect(receipt?.removed).toMatchObject({
      windows: 3n,
      refused_windows: 1n,
      conflict_resolutions: 1n,
      api_keys: 1n,
    });
    expect((await customers.listErasures({})).receipts).toEqual([receipt]);
    expect(await codeOf(regions())).toBe('Unauthenticated');
    expect((await refused.listRefusedWindows({})).windows).toEqual([]);
    expect((await conflicts.listConflicts({ ...range, includeResolved: true })).conflicts).toEqual([]);
    expect((await customers.listCustomers({})).customers).toEqual([]);
    expect((await customers.eraseCustomer(request)).receipt).toEqual(receipt);
  });
});
