import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeEvidence, type EvidenceRow, type EvidenceRows } from '../../src/ingest/evidence-rows.ts';
import { type Reading, type SampleRow, sampleRow } from '../../src/ingest/reading.ts';
import { encodeRecord, TouchedHours } from '../../src/ingest/record.ts';
import { RowBatch } from '../../src/ingest/row-batch.ts';
import { parseWindow } from '../../src/ingest/validate.ts';
import { clickHouseForTest } from '../database.ts';
import { aReading } from './a-reading.ts';
import { aWriter, ListedSpool } from './a-writer.ts';
import { aProxy } from './clickhouse-proxy.ts';
import { NO_WINDOWS } from '../../src/ingest/window-block.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';

const { client, url } = await clickHouseForTest();
const NOW_NANOS = BigInt(NOW_MS) * 1_000_000n;
const bounds = { nowNanos: NOW_NANOS, lateDaysMax: 35, rawDays: 400, aheadNanosMax: 0n };
const provenance = { credentialId: 'k', instanceId: 'i', receivedAtNanos: NOW_NANOS };
const UINT64_MAX = 2n ** 64n - 1n;
/** Heartbeats of over 35 days ago go by themselves. */
const BEAT_NANOS = BigInt(Date.now()) * 1_000_000n;

const stopped: EvidenceRow<'vm_events'> = {
  vm_id: 'vm-1',
  at: NOW_NANOS,
  kind: 2,
  customer_id: '',
  region: 'eu',
  until: NOW_NANOS,
  instance_id: '',
  credential_id: 'k',
  precedence: 5n,
};
const beat: EvidenceRow<'heartbeats'> = {
  received_at: BEAT_NANOS,
  credential_id: 'k',
  instance_id: 'metald-1',
  region: 'eu',
  vm_ids: ['vm-1', 'vm-2'],
};

function recordOf(...evidence: EvidenceRows[]): Buffer {
  return Buffer.concat(encodeRecord(NO_WINDOWS, new TouchedHours(), evidence));
}

/** Has records stored, each as often as it is there. @returns what was set aside */
async function store(...payloads: Buffer[]) {
  const { writer, failures, stored, setAside } = aWriter(new ListedSpool(payloads), client);
  void writer.run();
  await writer.settle(AbortSignal.timeout(20_000));
  await writer.stop();
  expect(failures).toEqual([]);
  return { stored, setAside };
}

async function select(query: string): Promise<unknown[]> {
  return (await client.query({ query, format: 'JSONEachRow' })).json();
}

describe('rows of other tables', () => {
  it('are stored with every column as it was reported, beside windows of the same record', async () => {
    const windows = new RowBatch(1, { ...provenance, sequence: 0n });
    windows.addWindow(parseWindow(aWindow({ customerId: 'mixed' }), anySender, bounds));
    const touched = new TouchedHours();
    touched.add('mixed', 3600);
    const sample = sampleRow(aReading({ customerId: 'mixed', cpuTimeNanos: UINT64_MAX }), provenance);
    const evidence = [
      encodeEvidence('counter_samples', [sample]),
      encodeEvidence('vm_events', [stopped]),
      encodeEvidence('heartbeats', [beat]),
      encodeEvidence('key_customers', [{ credential_id: 'k', customer_id: 'mixed' }]),
    ];
    const record = Buffer.concat(encodeRecord(windows.block(), touched, evidence));
    expect((await store(record)).stored).toEqual([5]);
    expect(await select("SELECT count() AS n FROM windows WHERE customer_id = 'mixed'")).toEqual([{ n: '1' }]);
    expect(await select("SELECT toUnixTimestamp(hour) AS hour FROM touched_hours WHERE customer_id = 'mixed'")).toEqual(
      [{ hour: 3600 }],
    );
    expect(await select("SELECT * FROM counter_samples WHERE customer_id = 'mixed'")).toEqual([
      {
        customer_id: 'mixed',
        vm_id: 'vm-1',
        sampled_at: '2026-06-10T12:00:00.000000000Z',
        value_hash: String(sample.value_hash),
        counters: 'cumulative',
        boot_id: 'boot-1',
        region: 'us-east1',
        linked_to: '1970-01-01T00:00:00.000000000Z',
        cpu_time_nanos: String(UINT64_MAX),
        memory_bytes_used: '4000000000',
        memory_byte_seconds: '240000000000',
        disk_read_bytes: '1',
        disk_write_bytes: '2',
        disk_read_ops: '3',
        disk_write_ops: '4',
        network_rx_bytes: '5',
        network_tx_bytes: '6',
        instance_id: 'i',
        credential_id: 'k',
        precedence: String(2n ** 63n - 1n - NOW_NANOS),
      },
    ]);
    expect(await select('SELECT * FROM vm_events')).toEqual([
      {
        vm_id: 'vm-1',
        at: '2026-06-10T12:00:00.000000000Z',
        kind: 'stopped',
        customer_id: '',
        region: 'eu',
        until: '2026-06-10T12:00:00.000000000Z',
        instance_id: '',
        credential_id: 'k',
        precedence: '5',
      },
    ]);
    expect(await select('SELECT * EXCEPT (received_at) FROM heartbeats')).toEqual([
      { credential_id: 'k', instance_id: 'metald-1', region: 'eu', vm_ids: ['vm-1', 'vm-2'] },
    ]);
    expect(await select('SELECT * FROM key_customers')).toEqual([{ credential_id: 'k', customer_id: 'mixed' }]);
  });

  it('are there once, whatever is stored again and in whatever order', async () => {
    const anyReading = fc.record({ vm: fc.nat(2), second: fc.nat(20), cpu: fc.bigInt({ min: 0n, max: 1n }) });
    const anyBatch = fc.array(anyReading, { minLength: 1, maxLength: 6 });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyBatch, { minLength: 1, maxLength: 6 }),
        fc.infiniteStream(fc.nat()),
        async (batches, nats) => {
          const customerId = `once-${run++}`;
          /** The first report of each value that a reading was reported with has the greatest precedence. */
          const expected = new Map<string, string>();
          const records = batches.map((batch, index) => {
            const from = { ...provenance, receivedAtNanos: NOW_NANOS + BigInt(index) };
            const readings = batch.map(({ vm, second, cpu }) => {
              const sampledAtNanos = NOW_NANOS + BigInt(second) * 1_000_000_000n;
              return aReading({ customerId, vmId: `vm-${vm}`, sampledAtNanos, cpuTimeNanos: cpu });
            });
            const rows = readings.map((each) => sampleRow(each, from));
            for (const row of rows) {
              const key = `${row.vm_id} ${row.sampled_at} ${row.cpu_time_nanos}`;
              if (!expected.has(key)) expected.set(key, String(row.precedence));
            }
            return recordOf(encodeEvidence('counter_samples', rows));
          });
          const sent = [...records, ...records].map((record) => ({ record, at: nats.next().value ?? 0 }));
          await store(...sent.toSorted((a, b) => a.at - b.at).map(({ record }) => record));
          const found = await select(
            `SELECT concat(vm_id, ' ', toString(reinterpretAsInt64(sampled_at)), ' ', toString(cpu_time_nanos)) AS key,
             toString(precedence) AS precedence
           FROM counter_samples FINAL WHERE customer_id = '${customerId}' ORDER BY key`,
          );
          const rows = [...expected].map(([key, precedence]) => ({ key, precedence }));
          expect(found).toEqual(rows.toSorted((a, b) => (a.key < b.key ? -1 : 1)));
        },
      ),
      { numRuns: 8 },
    );
  });

  it('that cannot be read are set aside, and others of the batch stored', async () => {
    const good = sampleRow(aReading({ customerId: 'beside' }), provenance);
    const broken = recordOf(encodeEvidence('heartbeats', [{ ...beat, credential_id: 'broken' }])).subarray(0, -3);
    const { stored, setAside } = await store(
      recordOf(encodeEvidence('counter_samples', [good])),
      broken,
      recordOf(encodeEvidence('vm_events', [{ ...stopped, vm_id: 'beside' }])),
    );
    expect(stored).toEqual([2]);
    expect(setAside.map(({ evidence }) => evidence.map(({ table }) => table))).toEqual([['heartbeats']]);
    expect(await select("SELECT count() AS n FROM counter_samples FINAL WHERE customer_id = 'beside'")).toEqual([
      { n: '1' },
    ]);
    expect(await select("SELECT count() AS n FROM vm_events FINAL WHERE vm_id = 'beside'")).toEqual([{ n: '1' }]);
    expect(await select("SELECT count() AS n FROM heartbeats WHERE credential_id = 'broken'")).toEqual([{ n: '0' }]);
  });

  it('may hold every value that there is', async () => {
    const odd: Partial<Reading> = { vmId: "'\\\u{10ffff}", bootId: 'b'.repeat(128), region: 'r'.repeat(64) };
    const largest: Partial<Reading> = {
      memoryBytesUsed: UINT64_MAX,
      diskReadOps: UINT64_MAX,
      networkTxBytes: UINT64_MAX,
    };
    const times = [946_684_800_000_000_000n, 7_258_118_400_000_000_000n];
    const samples = times.map((sampledAtNanos): SampleRow => {
      return sampleRow(aReading({ customerId: 'values', ...odd, ...largest, sampledAtNanos }), provenance);
    });
    const gap = { ...stopped, vm_id: 'values', kind: 3, at: times[0] ?? 0n, until: times[1] ?? 0n };
    const many = { ...beat, credential_id: 'values', vm_ids: Array.from({ length: 10_000 }, (_, i) => `vm-${i}`) };
    await store(
      recordOf(
        encodeEvidence('counter_samples', samples),
        encodeEvidence('vm_events', [gap]),
        encodeEvidence('heartbeats', [many, { ...many, instance_id: 'none', vm_ids: [] }]),
      ),
    );
    const query = `SELECT (SELECT count() FROM counter_samples WHERE customer_id = 'values') AS samples,
      (SELECT count() FROM vm_events WHERE vm_id = 'values' AND kind = 'possible_gap') AS gaps,
      (SELECT sum(length(vm_ids)) FROM heartbeats WHERE credential_id = 'values') AS vms`;
    expect(await select(query)).toEqual([{ samples: '2', gaps: '1', vms: '10000' }]);
  });
});

// Last: what it stores would be seen by the others.
it('stores the customers of keys first, without whom what these keys tell would count for everybody', async () => {
  const tables: string[] = [];
  const treat = ({ query }: { query: string }) => {
    tables.push(/INSERT INTO (\w+)/.exec(query)?.[1] ?? query);
    return 'pass' as const;
  };
  const record = recordOf(
    encodeEvidence('vm_events', [{ ...stopped, credential_id: 'scoped' }]),
    encodeEvidence('heartbeats', [{ ...beat, credential_id: 'scoped' }]),
    encodeEvidence('key_customers', [{ credential_id: 'scoped', customer_id: '' }]),
  );
  const { writer } = aWriter(new ListedSpool([record]), await aProxy({ url, treat }));
  void writer.run();
  await writer.settle(AbortSignal.timeout(20_000));
  await writer.stop();
  expect(tables).toEqual(['key_customers', 'vm_events', 'heartbeats']);
});
