import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { describe, expect, it, onTestFinished } from 'vitest';
import { DRAIN_SIZES } from '../../src/ingest/drain-pace.ts';
import { decodeRecord, encodeRecord, TouchedHours, windowsOf } from '../../src/ingest/record.ts';
import { RowBatch } from '../../src/ingest/row-batch.ts';
import { readRows } from '../../src/ingest/row-scan.ts';
import { parseWindow } from '../../src/ingest/validate.ts';
import { connectClickHouse } from '../../src/storage/clickhouse/client.ts';
import { clickHouseForTest } from '../database.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';
import { aProxy } from './clickhouse-proxy.ts';
import { aWriter, ListedSpool } from './a-writer.ts';

const { client, url } = await clickHouseForTest();
const bounds = { nowNanos: BigInt(NOW_MS) * 1_000_000n, lateDaysMax: 35, rawDays: 400, aheadNanosMax: 0n };
const provenance = { credentialId: 'k', instanceId: 'i', sequence: 7n, receivedAtNanos: BigInt(NOW_MS) * 1_000_000n };

function recordOf(customerId: string, ...vmIds: string[]): Buffer {
  const rows = new RowBatch(vmIds.length, provenance);
  for (const vmId of vmIds) {
    rows.addWindow(parseWindow(aWindow({ customerId, vmId, bootId: 'b' }), anySender, bounds));
  }
  const touched = new TouchedHours();
  touched.add(customerId, rows.head.hour * 3600);
  return Buffer.concat(encodeRecord(rows.block(), touched));
}

const MIB = 1024 * 1024;
const UINT64_MAX = 2n ** 64n - 1n;
/** 2000-01-01 and 2200-01-01, between which windows have to lie. */
const EARLIEST_NANOS = 946_684_800_000_000_000n;
const LATEST_NANOS = 7_258_118_400_000_000_000n;

/** Names that cannot be packed, so that rows are as large for ClickHouse as on their way. */
function vmIdsOf(record: number, windows: number): string[] {
  return Array.from({ length: windows }, (_, i) => `vm-${record}-${i}-${randomBytes(30).toString('hex')}`);
}

async function letPartsBe(): Promise<void> {
  await client.command({ query: 'ALTER TABLE windows RESET SETTING parts_to_throw_insert' });
  await client.command({ query: 'SYSTEM START MERGES windows' });
}

async function count(table: string, customerId: string): Promise<number> {
  const answer = await client.query({
    query: `SELECT count() AS n FROM ${table} WHERE customer_id = {customerId:String}`,
    query_params: { customerId },
    format: 'JSONEachRow',
  });
  const [row] = await answer.json<{ n: string }>();
  return Number(row?.n);
}

describe('ClickHouseWriter', () => {
  it('stores every column of a row as it was reported', async () => {
    const spool = new ListedSpool([recordOf('columns', 'vm-1')]);
    const { writer, stored } = aWriter(spool, client);
    void writer.run();
    await writer.settle(AbortSignal.timeout(10_000));
    await writer.stop();
    expect(stored).toEqual([1]);
    const answer = await client.query({
      query: "SELECT * EXCEPT (value_hash), received_at FROM windows WHERE customer_id = 'columns'",
      format: 'JSONEachRow',
    });
    expect(await answer.json()).toEqual([
      {
        customer_id: 'columns',
        vm_id: 'vm-1',
        window_start: '2026-06-10T11:59:00.000000000Z',
        window_end: '2026-06-10T12:00:00.000000000Z',
        region: 'us-east1',
        sampled_at: '2026-06-10T12:00:00.000000000Z',
        cpu_time_nanos: '60000000000',
        cpu_utilization_pct: 99.5,
        cpu_cores_used: 1,
        memory_bytes_used: '4000000000',
        memory_bytes_peak: '4100000000',
        memory_byte_seconds: '240000000000',
        disk_read_bytes: '1',
        disk_write_bytes: '2',
        disk_read_ops: '3',
        disk_write_ops: '4',
        network_rx_bytes: '5',
        network_tx_bytes: '6',
        boot_id: 'b',
        instance_id: 'i',
        sequence: '7',
        credential_id: 'k',
        precedence: String(2n ** 63n - 1n - provenance.receivedAtNanos),
        received_at: '2026-06-10T12:00:00.000000000Z',
      },
    ]);
  });

  it('has windows and the hours they touch stored before it marks the spool', async () => {
    const seen: number[][] = [];
    const spool = new ListedSpool([recordOf('order', 'vm-1'), recordOf('order', 'vm-2')], async () => {
      seen.push([await count('windows', 'order'), await count('touched_hours', 'order')]);
    });
    // One record at a time.
    const { writer } = aWriter(spool, client, { sizes: { ...DRAIN_SIZES, insertBytesMax: 1 } });
    void writer.run();
    await writer.settle(AbortSignal.timeout(10_000));
    await writer.stop();
    expect(seen).toEqual([
      [1, 1],
      [2, 2],
    ]);
  });

  it('tries a batch again until it is stored, and never notes hours whose windows are not', async () => {
    let cutOff = 0;
    const touchedWithoutWindows: number[] = [];
    const through = await aProxy({
      url,
      treat: ({ query }) => (query.includes('INSERT INTO windows') && cutOff++ < 2 ? 'cut off' : 'pass'),
    });
    const spool = new ListedSpool([recordOf('retried', 'vm-1')], async () => {
      touchedWithoutWindows.push((await count('touched_hours', 'retried')) - (await count('windows', 'retried')));
    });
    const { writer, failures, stored, circuits } = aWriter(spool, through);
    void writer.run();
    await writer.settle(AbortSignal.timeout(20_000));
    await writer.stop();
    expect([failures, stored, circuits]).toEqual([['other', 'other'], [1], []]);
    expect(touchedWithoutWindows).toEqual([0]);
  });

  it('stores again what ClickHouse has taken without its answer coming back, and each window counts once', async () => {
    const dropped: string[] = [];
    const through = await aProxy({
      url,
      treat: ({ query }) => {
        if (dropped.length >= 4 || !query.includes('INSERT INTO')) return 'pass';
        dropped.push(query.includes('touched_hours') ? 'touched_hours' : 'windows');
        return dropped.length % 2 === 1 ? 'drop the answer' : 'pass';
      },
    });
    const spool = new ListedSpool([recordOf('twice', 'vm-1', 'vm-2', 'vm-3')]);
    const { writer, failures } = aWriter(spool, through);
    void writer.run();
    await writer.settle(AbortSignal.timeout(20_000));
    await writer.stop();
    expect(dropped).toEqual(['windows', 'windows', 'touched_hours', 'windows']);
    expect(failures).toEqual(['other', 'other']);
    expect(await count('windows FINAL', 'twice')).toBe(3);
    expect(await count('touched_hours', 'twice')).toBe(2);
  });

  it('waits while nobody listens, and goes on when somebody does', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await new Promise((resolve) => server.close(resolve));
    const away = new URL(url);
    away.port = String(port);
    const refused = connectClickHouse({ url: away.href });
    onTestFinished(() => refused.close());
    const spool = new ListedSpool([recordOf('refused', 'vm-1')]);
    const { writer, failures, circuits, opened } = aWriter(spool, refused);
    void writer.run();
    await opened;
    expect(failures).toEqual(['other', 'other', 'other']);
    expect(writer.clickHouse.circuit).toBe('open');
    expect(writer.retryAfterMs(0)).toBe(1_000);

    await aProxy({ url, treat: () => 'pass' }, port);
    await writer.settle(AbortSignal.timeout(30_000));
    await writer.stop();
    expect(await count('windows FINAL', 'refused')).toBe(1);
    expect([circuits.at(-2), circuits.at(-1)]).toEqual(['half-open', 'closed']);
    expect(writer.clickHouse).toEqual({ circuit: 'closed', awayMs: 0 });
  });

  it('stores windows of any number of months in one block', async () => {
    const rows = new RowBatch(150, provenance);
    const window = parseWindow(aWindow({ customerId: 'months' }), anySender, bounds);
    for (let month = 0; month < 150; month++) {
      const startNanos = BigInt(Date.UTC(2010, month)) * 1_000_000n;
      rows.addWindow({ ...window, startNanos, endNanos: startNanos + 60_000_000_000n });
    }
    const spool = new ListedSpool([Buffer.concat(encodeRecord(rows.block(), new TouchedHours()))]);
    const { writer } = aWriter(spool, client);
    void writer.run();
    await writer.settle(AbortSignal.timeout(20_000));
    await writer.stop();
    expect(await count('windows', 'months')).toBe(150);
  });

  it('stores every value that a window may have', async () => {
    const extremes = [
      { vmId: 'largest', cpuTimeNanos: UINT64_MAX, diskReadOps: UINT64_MAX, cpuCoresUsed: Number.MAX_VALUE },
      { vmId: 'smallest', cpuTimeNanos: 0n, diskReadOps: 0n, cpuCoresUsed: Number.MIN_VALUE },
      { vmId: '\u{10ffff}'.repeat(31), customerId: 'extremes' },
      { vmId: "'\\", region: 'r'.repeat(64), bootId: 'b'.repeat(128) },
    ].map((changes) => parseWindow(aWindow({ customerId: 'extremes', ...changes }), anySender, bounds));
    const [any] = extremes;
    if (any === undefined) throw new Error('no window');
    const ends = [EARLIEST_NANOS + 1n, LATEST_NANOS].map((endNanos) => {
      return { ...any, vmId: `until ${endNanos}`, startNanos: endNanos - 1n, endNanos, sampledAtNanos: endNanos };
    });
    const edges = { instanceId: '', credentialId: '', sequence: UINT64_MAX, receivedAtNanos: 0n };
    const records = [provenance, edges].map((each) => {
      const rows = new RowBatch(extremes.length + ends.length, each);
      for (const window of [...extremes, ...ends]) rows.addWindow({ ...window, vmId: window.vmId + each.instanceId });
      const touched = new TouchedHours();
      for (const { startNanos } of ends) touched.add('extremes', Number(startNanos / 3_600_000_000_000n) * 3600);
      return Buffer.concat(encodeRecord(rows.block(), touched));
    });
    const { writer, failures, stored } = aWriter(new ListedSpool(records), client);
    void writer.run();
    await writer.settle(AbortSignal.timeout(20_000));
    await writer.stop();
    expect([failures, stored]).toEqual([[], [12]]);
    expect(await count('windows FINAL', 'extremes')).toBe(12);
  });

  it('sets aside a record that cannot be read, and stores those around it', async () => {
    const broken = recordOf('broken', 'vm-1', 'vm-2');
    const payloads = [recordOf('whole', 'vm-1'), broken.subarray(0, -8), recordOf('whole', 'vm-2')];
    const { writer, failures, stored, setAside } = aWriter(new ListedSpool(payloads), client);
    void writer.run();
    await writer.settle(AbortSignal.timeout(20_000));
    await writer.stop();
    expect([failures, stored]).toEqual([[], [2]]);
    expect(setAside.map(({ rowCount }) => rowCount)).toEqual([2]);
    expect([await count('windows', 'whole'), await count('windows', 'broken')]).toEqual([2, 0]);
  });

  it('leaves out no other record where one goes bad on the disk meanwhile', async () => {
    const broken = recordOf('torn', 'vm-1').subarray(0, -8);
    const spool = new ListedSpool([recordOf('bad', 'vm-1'), broken, recordOf('good', 'vm-1')]);
    const { writer } = aWriter(spool, client, {
      setAside: async () => {
        spool.lost.add(1);
        return 'a-file';
      },
    });
    void writer.run();
    await writer.settle(AbortSignal.timeout(20_000));
    await writer.stop();
    expect([await count('windows', 'torn'), await count('windows', 'good')]).toEqual([0, 1]);
  });

  it('keeps whole records in the spool whatever ClickHouse says to them', async () => {
    const through = await aProxy({
      url,
      // As if somebody had changed the table: every insert is refused, and none of it is the records' fault.
      treat: ({ parameters }) => {
        const query = parameters.get('query')?.replace('window_start, window_end', 'window_end, window_begin');
        if (query !== undefined) parameters.set('query', query);
        return 'pass';
      },
    });
    const spool = new ListedSpool([recordOf('kept', 'vm-1')]);
    const { writer, failures, setAside, opened } = aWriter(spool, through);
    void writer.run();
    await opened;
    await writer.stop();
    expect(failures).toEqual(['refused', 'refused', 'refused']);
    expect([setAside, spool.marks]).toEqual([[], []]);
  });

  it('stays with a record that cannot be read where it cannot be kept', async () => {
    const spool = new ListedSpool([recordOf('broken', 'vm-1').subarray(0, -8)]);
    const { writer, failures, opened } = aWriter(spool, client, { setAside: () => Promise.reject(new Error('full')) });
    void writer.run();
    await opened;
    await writer.stop();
    expect(failures).toEqual(['other', 'other', 'other']);
    expect(spool.marks).toEqual([]);
  });

  it('sends smaller inserts where ClickHouse lacks the memory for them', async () => {
    const inserts: { bytes: number; status: number }[] = [];
    const through = await aProxy({
      url,
      treat: ({ parameters }) => {
        parameters.set('max_memory_usage', String(20_000_000));
        return 'pass';
      },
      onAnswer: ({ query, bodyBytes }, status) => {
        if (query.includes('INSERT INTO windows')) inserts.push({ bytes: bodyBytes, status });
      },
    });
    const payloads = Array.from({ length: 32 }, (_, i) => recordOf('memory', ...vmIdsOf(i, 1_000)));
    const sizes = { ...DRAIN_SIZES, insertBytesMax: 4 * MIB, readBytesMax: MIB / 4, insertBytesMin: MIB / 2 };
    const { writer, failures } = aWriter(new ListedSpool(payloads), through, { sizes });
    void writer.run();
    await writer.settle(AbortSignal.timeout(30_000));
    await writer.stop();
    expect(failures[0]).toBe('too_much');
    expect(new Set(failures)).toEqual(new Set(['too_much']));
    const refusedBytes = Math.min(...inserts.filter(({ status }) => status !== 200).map(({ bytes }) => bytes));
    const firstTaken = inserts.find(({ status }) => status === 200);
    expect(firstTaken?.bytes).toBeLessThanOrEqual(refusedBytes);
    expect(firstTaken?.bytes).toBeLessThan(3 * MIB);
    expect(await count('windows FINAL', 'memory')).toBe(32_000);
    // It has measured how fast it goes by now, and still says nothing that a sender should not go by.
    expect([writer.retryAfterMs(1), writer.retryAfterMs(10 ** 15)]).toEqual([1_000, 60_000]);
  });

  it('sends less often, and nothing smaller, where ClickHouse has too many parts', async () => {
    const partsBefore = aWriter(new ListedSpool([recordOf('parts', 'vm-0')]), client);
    void partsBefore.writer.run();
    await partsBefore.writer.settle(AbortSignal.timeout(20_000));
    await partsBefore.writer.stop();
    onTestFinished(() => letPartsBe());
    await client.command({ query: 'SYSTEM STOP MERGES windows' });
    await client.command({ query: 'ALTER TABLE windows MODIFY SETTING parts_to_throw_insert = 1' });
    const bytes: number[] = [];
    const through = await aProxy({
      url,
      treat: ({ query, bodyBytes }) => {
        if (query.includes('INSERT INTO windows')) bytes.push(bodyBytes);
        return 'pass';
      },
    });
    const payloads = ['vm-1', 'vm-2', 'vm-3'].map((vmId) => recordOf('parts', vmId));
    const sizes = { ...DRAIN_SIZES, insertBytesMax: 2_048, insertBytesMin: 1 };
    const { writer, failures, opened } = aWriter(new ListedSpool(payloads), through, { sizes });
    void writer.run();
    await opened;
    expect(failures).toEqual(['too_often', 'too_often', 'too_often']);
    expect(new Set(bytes).size).toBe(1);
    await letPartsBe();
    await writer.settle(AbortSignal.timeout(30_000));
    await writer.stop();
    expect(await count('windows FINAL', 'parts')).toBe(4);
  });

  it('gives up an insert that is not answered in time, closes its connection, and sends nothing until a probe', async () => {
    const closed = Promise.withResolvers<void>();
    let hanging = 0;
    const through = await aProxy({
      url,
      treat: ({ query }) => (query.includes('INSERT INTO windows') && hanging++ === 0 ? 'hang' : 'pass'),
      onClosed: () => closed.resolve(),
    });
    const spool = new ListedSpool([recordOf('hung', 'vm-1')]);
    const { writer, failures, circuits } = aWriter(spool, through, { storeTimeoutMs: 300 });
    void writer.run();
    await closed.promise;
    await writer.settle(AbortSignal.timeout(20_000));
    await writer.stop();
    expect([failures[0], circuits[0], circuits.at(-1)]).toEqual(['timeout', 'open', 'closed']);
    expect(await count('windows FINAL', 'hung')).toBe(1);
  });

  it('sends an insert piece by piece, and never reads the spool again before the try that failed has ended', async () => {
    let reading = 0;
    const readBeside: number[] = [];
    class WatchedSpool extends ListedSpool {
      override async read(bytesMax: number, after?: number) {
        readBeside.push(reading++);
        await new Promise(setImmediate);
        const batch = await super.read(bytesMax, after);
        reading--;
        return batch;
      }
    }
    let inserts = 0;
    const bytes: number[] = [];
    const through = await aProxy({
      url,
      treat: ({ query, bodyBytes }) => {
        if (!query.includes('INSERT INTO windows')) return 'pass';
        bytes.push(bodyBytes);
        return inserts++ === 0 ? 'hang' : 'pass';
      },
    });
    const payloads = [0, 1, 2].map((record) => recordOf('pieces', ...vmIdsOf(record, 1_000)));
    const spool = new WatchedSpool(payloads);
    const { writer, failures, stored } = aWriter(spool, through, {
      sizes: { ...DRAIN_SIZES, readBytesMax: MIB / 4 },
      storeTimeoutMs: 1_000,
    });
    void writer.run();
    await writer.settle(AbortSignal.timeout(20_000));
    await writer.stop();
    expect([failures[0], stored.at(-1)]).toEqual(['timeout', 3_000]);
    expect(new Set(readBeside)).toEqual(new Set([0]));
    // The whole backlog in one insert, of more than one read.
    expect(bytes.at(-1)).toBeGreaterThan(2 * (MIB / 4));
    expect(await count('windows FINAL', 'pieces')).toBe(3_000);
  });

  it('sends every byte as it was, from memory used in turns, also where ClickHouse reads slowly', async () => {
    const through = await aProxy({ url, isSlow: true, treat: () => 'pass' });
    const payloads = Array.from({ length: 60 }, (_, i) => recordOf('slow', ...vmIdsOf(i, 1_000)));
    const { writer, stored } = aWriter(new ListedSpool(payloads), through, {
      sizes: { ...DRAIN_SIZES, readBytesMax: 1.5 * MIB },
    });
    void writer.run();
    await writer.settle(AbortSignal.timeout(30_000));
    await writer.stop();
    expect(stored).toEqual([60_000]);
    const sent = payloads.flatMap((payload) => [...readRows(windowsOf(decodeRecord(payload)))].map(({ vmId }) => vmId));
    const answer = await client.query({
      query: "SELECT vm_id, cpu_time_nanos FROM windows WHERE customer_id = 'slow' ORDER BY vm_id",
      format: 'JSONCompactEachRow',
    });
    expect(await answer.json()).toEqual(sent.toSorted().map((vmId) => [vmId, '60000000000']));
  });

  it('ends with the error of the spool where that cannot be read, and tells nothing of ClickHouse', async () => {
    class BadSpool extends ListedSpool {
      override async read(): Promise<never> {
        throw new Error('the disk is gone');
      }
    }
    const { writer, failures, circuits } = aWriter(new BadSpool([recordOf('bad', 'vm-1')]), client);
    await expect(writer.run()).rejects.toThrow('the disk is gone');
    expect([failures, circuits]).toEqual([[], []]);
  });

  it('stops while ClickHouse is away, and leaves what is not stored in the spool', async () => {
    const through = await aProxy({ url, treat: () => 'cut off' });
    const spool = new ListedSpool([recordOf('away', 'vm-1')]);
    const { writer, opened } = aWriter(spool, through);
    const running = writer.run();
    await opened;
    await writer.stop();
    await running;
    expect(spool.marks).toEqual([]);
  });
});
