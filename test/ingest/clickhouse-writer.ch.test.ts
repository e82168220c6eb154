import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { ClickHouseWriter, type DrainedBatch } from '../../src/ingest/clickhouse-writer.ts';
import { encodeRecord, TouchedHours } from '../../src/ingest/record.ts';
import { RowBatch } from '../../src/ingest/row-batch.ts';
import { parseWindow } from '../../src/ingest/validate.ts';
import { connectClickHouse } from '../../src/storage/clickhouse/client.ts';
import { clickHouseForTest } from '../database.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';

const { client, url } = await clickHouseForTest();
const bounds = { nowNanos: BigInt(NOW_MS) * 1_000_000n, lateDaysMax: 35, aheadNanosMax: 0n };
const provenance = { credentialId: 'k', instanceId: 'i', sequence: 7n, receivedAtNanos: BigInt(NOW_MS) * 1_000_000n };

function recordOf(customerId: string, vmId: string): Buffer {
  const rows = new RowBatch(1, provenance);
  rows.addWindow(parseWindow(aWindow({ customerId, vmId, bootId: 'b' }), anySender, bounds));
  const touched = new TouchedHours();
  touched.add(customerId, rows.hour * 3600);
  return Buffer.concat(encodeRecord(rows.rows(), rows.count, touched));
}

/** A spool of records in memory; positions are counts. */
class ListedSpool {
  readonly #payloads: readonly Buffer[];
  readonly marks: number[] = [];
  readonly #onMark: (end: number) => Promise<void>;

  constructor(payloads: readonly Buffer[], onMark: (end: number) => Promise<void> = async () => undefined) {
    this.#payloads = payloads;
    this.#onMark = onMark;
  }

  async read(): Promise<DrainedBatch<number> | undefined> {
    const from = this.marks.at(-1) ?? 0;
    return from < this.#payloads.length ? { payloads: this.#payloads.slice(from, from + 1), end: from + 1 } : undefined;
  }

  async waitForRecords(signal: AbortSignal): Promise<void> {
    if (!signal.aborted) await once(signal, 'abort');
  }

  async markApplied(end: number): Promise<void> {
    await this.#onMark(end);
    this.marks.push(end);
  }

  stats() {
    return { unappliedRecords: this.#payloads.length - (this.marks.at(-1) ?? 0) };
  }
}

function writerOf(spool: ListedSpool, to = client) {
  const failures: unknown[] = [];
  const stored: number[] = [];
  const writer = new ClickHouseWriter({
    spool,
    clickhouse: to,
    onStored: (rows) => stored.push(rows),
    onFailed: (reason) => failures.push(reason),
  });
  return { writer, failures, stored };
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

/** Passes calls on to ClickHouse, but for those that `drops` says fail. */
async function proxy(drops: (query: string) => boolean): Promise<{ server: Server; proxyUrl: string }> {
  const target = new URL(url);
  const pass = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const path = new URL(request.url ?? '', target.origin);
    const body = Buffer.concat(chunks);
    if (drops((path.searchParams.get('query') ?? '') + body.toString('latin1', 0, 200))) {
      request.socket.destroy();
      return;
    }
    const headers = { authorization: request.headers.authorization ?? '' };
    const answer = await fetch(path, { method: 'POST', headers, body });
    response.writeHead(answer.status);
    response.end(Buffer.from(await answer.arrayBuffer()));
  };
  const server = createServer((request, response) => void pass(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const proxyUrl = new URL(url);
  proxyUrl.port = String(address.port);
  return { server, proxyUrl: proxyUrl.href };
}

describe('ClickHouseWriter', () => {
  it('stores every column of a row as it was reported', async () => {
    const spool = new ListedSpool([recordOf('columns', 'vm-1')]);
    const { writer, stored } = writerOf(spool);
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
    const { writer } = writerOf(spool);
    void writer.run();
    await writer.settle(AbortSignal.timeout(10_000));
    await writer.stop();
    expect(seen).toEqual([
      [1, 1],
      [2, 2],
    ]);
  });

  it('tries a block again until it is stored, and never notes hours whose windows are not', async () => {
    let dropped = 0;
    const touchedWithoutWindows: number[] = [];
    const { server, proxyUrl } = await proxy((query) => {
      const drop = query.includes('INSERT INTO windows') && dropped < 3;
      if (drop) dropped++;
      return drop;
    });
    const through = connectClickHouse({ url: proxyUrl });
    const spool = new ListedSpool([recordOf('retried', 'vm-1')], async () => {
      touchedWithoutWindows.push((await count('touched_hours', 'retried')) - (await count('windows', 'retried')));
    });
    const { writer, failures, stored } = writerOf(spool, through);
    void writer.run();
    await writer.settle(AbortSignal.timeout(20_000));
    await writer.stop();
    expect([dropped, failures.length]).toEqual([3, 3]);
    expect(stored).toEqual([1]);
    expect(touchedWithoutWindows).toEqual([0]);
    await through.close();
    server.close();
  });

  it('stores windows of any number of months in one block', async () => {
    const rows = new RowBatch(150, provenance);
    const window = parseWindow(aWindow({ customerId: 'months' }), anySender, bounds);
    for (let month = 0; month < 150; month++) {
      const startNanos = BigInt(Date.UTC(2010, month)) * 1_000_000n;
      rows.addWindow({ ...window, startNanos, endNanos: startNanos + 60_000_000_000n });
    }
    const spool = new ListedSpool([Buffer.concat(encodeRecord(rows.rows(), rows.count, new TouchedHours()))]);
    const { writer } = writerOf(spool);
    void writer.run();
    await writer.settle(AbortSignal.timeout(20_000));
    await writer.stop();
    expect(await count('windows', 'months')).toBe(150);
  });

  it('stops while ClickHouse is away, and leaves what is not stored in the spool', async () => {
    const { server, proxyUrl } = await proxy(() => true);
    const through = connectClickHouse({ url: proxyUrl });
    const spool = new ListedSpool([recordOf('away', 'vm-1')]);
    const failed = Promise.withResolvers<void>();
    const writer = new ClickHouseWriter({
      spool,
      clickhouse: through,
      onStored: () => undefined,
      onFailed: () => failed.resolve(),
    });
    const running = writer.run();
    await failed.promise;
    await writer.stop();
    await running;
    expect(spool.marks).toEqual([]);
    await through.close();
    server.close();
  });
});
