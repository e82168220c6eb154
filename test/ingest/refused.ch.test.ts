import { create, fromJsonString } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { type BillingMetrics, BillingMetricsSchema } from '../../gen/billing/v1/metrics_pb.ts';
import { RefusedWindows } from '../../src/ingest/refused.ts';
import { CallerFault } from '../../src/lib/failure.ts';
import { connectClickHouse } from '../../src/storage/clickhouse/client.ts';
import { listRefusedWindows, type RefusedWindow } from '../../src/usage/refused-windows.ts';
import { clickHouseForTest } from '../database.ts';
import { aWindow } from './a-window.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();
const ALL = { customerId: '', credentialId: '' };
/** The table forgets what is older than 35 days. */
const NOW_NANOS = BigInt(Date.now()) * 1_000_000n;

function refusing(clickhouse = client) {
  const state = { isThere: true };
  const notKept: number[] = [];
  const isThere = (): boolean => state.isThere;
  const refused = new RefusedWindows({ clickhouse, isThere, onNotKept: (windows) => notKept.push(windows) });
  return { refused, notKept, state };
}

function batchOf(credentialId: string, metrics: readonly (BillingMetrics | undefined)[], afterNanos = 0n) {
  const fault = new CallerFault('out_of_range', 'window_end', 'window_end: it is too late');
  const windows = metrics.map((each) => ({ metrics: each, fault }));
  return { credentialId, instanceId: 'metald-1', receivedAtNanos: NOW_NANOS + afterNanos, windows };
}

async function kept(filter: Partial<typeof ALL> = {}): Promise<RefusedWindow[]> {
  return listRefusedWindows(client, { ...ALL, ...filter }, { after: undefined, limit: 1000 }, signal);
}

describe('refused windows', () => {
  it('are kept as they were sent, with the reason, newest first', async () => {
    const { refused, notKept } = refusing();
    const odd = aWindow({ vmId: 'half \ud83d', cpuUtilizationPct: Number.NaN, cpuTimeNanos: 2n ** 64n - 1n });
    refused.note(batchOf('key-a', [odd, undefined]));
    refused.note(batchOf('key-a', [aWindow({ customerId: 'other' })], 1n));
    await refused.flush();
    await refused.flush();
    const found = await kept({ credentialId: 'key-a' });
    expect(found).toHaveLength(3);
    expect(found[0]).toMatchObject({
      receivedAtNanos: NOW_NANOS + 1n,
      instanceId: 'metald-1',
      code: 'out_of_range',
      field: 'window_end',
      message: 'window_end: it is too late',
    });
    const metrics = found.slice(1).map((window) => window.metrics);
    expect(metrics).toContain('');
    const text = metrics.find((each) => each !== '') ?? '';
    expect(fromJsonString(BillingMetricsSchema, text)).toEqual({ ...odd, vmId: 'half �' });
    expect(await kept({ customerId: 'other', credentialId: 'key-a' })).toHaveLength(1);
    expect(notKept).toEqual([]);
  });

  it('take at most 4 KiB each, whatever was sent', async () => {
    const { refused } = refusing();
    const long = '\u0001'.repeat(100_000);
    const nanos = 2_000_000_000;
    const window = aWindow({ vmId: long, customerId: long, region: long, bootId: long });
    const never = { timestamp: { $typeName: 'google.protobuf.Timestamp', seconds: 2n ** 62n, nanos } } as const;
    refused.note(batchOf('key-long', [create(BillingMetricsSchema, { ...window, ...never })]));
    await refused.flush();
    const [found] = await kept({ credentialId: 'key-long' });
    expect(Buffer.byteLength(found?.metrics ?? '')).toBeLessThanOrEqual(4096);
    const read = fromJsonString(BillingMetricsSchema, found?.metrics ?? '');
    expect(read).toMatchObject({ vmId: `${long.slice(0, 127)}…`, cpuTimeNanos: window.cpuTimeNanos });
    expect(read.timestamp).toBeUndefined();
  });

  it('have pages that cover each once', async () => {
    const { refused } = refusing();
    refused.note(
      batchOf(
        'key-page',
        Array.from({ length: 5 }, () => aWindow()),
      ),
    );
    refused.note(
      batchOf(
        'key-page',
        Array.from({ length: 2 }, () => aWindow()),
        7n,
      ),
    );
    await refused.flush();
    const ids: string[] = [];
    for (let after: RefusedWindow | undefined; ;) {
      const filter = { ...ALL, credentialId: 'key-page' };
      const page = await listRefusedWindows(client, filter, { after, limit: 2 }, signal);
      ids.push(...page.map((window) => window.id));
      after = page.at(-1);
      if (page.length < 2) break;
    }
    expect(new Set(ids).size).toBe(7);
    expect(ids).toHaveLength(7);
  });

  it('beyond 10,000 are counted and not kept', async () => {
    const { refused, notKept, state } = refusing();
    state.isThere = false;
    const thousand = Array.from({ length: 1000 }, () => aWindow());
    for (let batch = 0; batch < 11; batch++) refused.note(batchOf('key-many', thousand));
    await refused.flush();
    expect(notKept).toEqual([1000]);
    expect(await kept({ credentialId: 'key-many' })).toEqual([]);
    state.isThere = true;
    await refused.stop();
    expect(notKept).toEqual([1000]);
    const count = await client.query({
      query: `SELECT count() AS rows FROM refused_windows WHERE credential_id = 'key-many'`,
      format: 'JSONEachRow',
    });
    expect(await count.json()).toEqual([{ rows: '10000' }]);
  });

  it('stay for the next try where ClickHouse fails, and are told of where there is none', async () => {
    const nowhere = connectClickHouse({ url: 'http://127.0.0.1:1' });
    const { refused, notKept } = refusing(nowhere);
    refused.note(batchOf('key-away', [aWindow()]));
    await expect(refused.flush()).rejects.toThrow();
    expect(notKept).toEqual([]);
    await expect(refused.stop()).rejects.toThrow();
    expect(notKept).toEqual([1]);
    await nowhere.close();
  });
});
