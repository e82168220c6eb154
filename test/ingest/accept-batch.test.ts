import { fromBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { SendMetricsBatchRequestSchema } from '../../gen/billing/v1/collector_pb.ts';
import { type BillingMetrics, CounterTemporality } from '../../gen/billing/v1/metrics_pb.ts';
import { type Batch, Ingest } from '../../src/ingest/accept-batch.ts';
import { RecentWindows } from '../../src/ingest/dedup.ts';
import type { Appender, Backfilled } from '../../src/ingest/intake.ts';
import { decodeRecord, windowsOf } from '../../src/ingest/record.ts';
import type { RefusedBatch } from '../../src/ingest/refused.ts';
import { readRows } from '../../src/ingest/row-scan.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';
import { HeldSpool, isSettled } from './held-spool.ts';

function ingestOn(spool: Appender, keysMax = 1000) {
  const accepted: string[] = [];
  const backfilled: Backfilled[] = [];
  const refused: RefusedBatch[] = [];
  const ingest = new Ingest({
    clock: { nowMs: () => NOW_MS, nowNanos: () => BigInt(NOW_MS) * 1_000_000n },
    spool,
    recent: new RecentWindows(keysMax),
    batchWindowsMax: 10,
    lateDaysMax: 35,
    rawDays: 400,
    aheadSecondsMax: 300,
    onAccepted: (read) => accepted.push(...[...read()].map((window) => window.vmId)),
    onVerdict: () => undefined,
    onRefused: (batch) => refused.push(batch),
    onBackfilled: (_, sum) => backfilled.push(sum),
  });
  return { ingest, accepted, backfilled, refused };
}

function batchOf(...metrics: BillingMetrics[]): Batch {
  return { metrics, instanceId: 'metald-1', sequence: 1n, counterTemporality: CounterTemporality.UNSPECIFIED };
}

describe('Ingest', () => {
  it('answers only once the windows are on disk', async () => {
    const spool = new HeldSpool();
    const { ingest, accepted } = ingestOn(spool);
    const verdict = ingest.accept(batchOf(aWindow(), aWindow({ vmId: 'vm-2' })), anySender);
    expect(await isSettled(verdict)).toBe(false);
    expect(accepted).toEqual([]);
    spool.syncs[0]?.resolve();
    expect(await verdict).toMatchObject({ accepted: 2, duplicate: 0, conflicting: 0, refused: 0, faults: [] });
    expect(accepted).toEqual(['vm-1', 'vm-2']);
    const record = decodeRecord(spool.payloads[0] ?? Buffer.alloc(0));
    expect(record.rowCount).toBe(2);
    expect([...readRows(windowsOf(record))]).toHaveLength(2);
    expect(record.touched).toEqual([['acme', Date.UTC(2026, 5, 10, 11) / 1000]]);
  });

  it('lets a duplicate of a window that is not yet on disk wait for the same sync', async () => {
    const spool = new HeldSpool();
    const { ingest } = ingestOn(spool);
    const first = ingest.accept(batchOf(aWindow()), anySender);
    const second = ingest.accept(batchOf(aWindow({ timestamp: timestampFromMs(NOW_MS + 1) })), anySender);
    expect(await isSettled(second)).toBe(false);
    expect(spool.syncs).toHaveLength(1);
    spool.syncs[0]?.resolve();
    expect(await first).toMatchObject({ accepted: 1, duplicate: 0 });
    expect(await second).toMatchObject({ accepted: 0, duplicate: 1 });
    expect(await ingest.accept(batchOf(aWindow()), anySender)).toMatchObject({ accepted: 0, duplicate: 1 });
    expect(spool.payloads).toHaveLength(1);
  });

  it('fails a duplicate with the sync it waited for, and takes the window when it is sent again', async () => {
    const spool = new HeldSpool();
    const { ingest } = ingestOn(spool);
    const both = Promise.allSettled([
      ingest.accept(batchOf(aWindow()), anySender),
      ingest.accept(batchOf(aWindow()), anySender),
    ]);
    spool.syncs[0]?.reject(new Error('disk gone'));
    expect((await both).map((each) => each.status)).toEqual(['rejected', 'rejected']);
    const again = ingest.accept(batchOf(aWindow()), anySender);
    spool.syncs[1]?.resolve();
    expect(await again).toMatchObject({ accepted: 1, duplicate: 0 });
  });

  it('takes a window when it is sent again that did not come as far as the spool', async () => {
    const held = new HeldSpool();
    const { ingest } = ingestOn({
      append: (payload) => {
        if (held.payloads.length > 0) return held.append(payload);
        held.payloads.push(Buffer.alloc(0));
        throw new RangeError('Array buffer allocation failed');
      },
    });
    await expect(ingest.accept(batchOf(aWindow()), anySender)).rejects.toThrow('allocation');
    const again = ingest.accept(batchOf(aWindow()), anySender);
    held.syncs[0]?.resolve();
    expect(await again).toMatchObject({ accepted: 1, duplicate: 0 });
  });

  it('counts a second copy inside one batch as a duplicate', async () => {
    const spool = new HeldSpool();
    const { ingest } = ingestOn(spool);
    const verdict = ingest.accept(batchOf(aWindow(), aWindow()), anySender);
    spool.syncs[0]?.resolve();
    expect(await verdict).toMatchObject({ accepted: 1, duplicate: 1 });
  });

  it('keeps a conflicting report beside the first and names it', async () => {
    const spool = new HeldSpool();
    const { ingest, accepted } = ingestOn(spool);
    const first = ingest.accept(batchOf(aWindow()), anySender);
    spool.syncs[0]?.resolve();
    await first;
    const other = ingest.accept(batchOf(aWindow({ region: 'eu-west1' })), anySender);
    spool.syncs[1]?.resolve();
    const verdict = await other;
    expect(verdict).toMatchObject({ accepted: 0, conflicting: 1, refused: 0 });
    expect(verdict.faults[0]?.fault).toMatchObject({ kind: 'already_exists' });
    expect(spool.payloads).toHaveLength(2);
    expect(accepted).toHaveLength(1);
    // The first report stays the one that is known.
    expect(await ingest.accept(batchOf(aWindow()), anySender)).toMatchObject({ duplicate: 1 });
  });

  it('gives two reports in one tick different times of receipt, the first the greater precedence', async () => {
    const spool = new HeldSpool();
    const { ingest } = ingestOn(spool);
    void ingest.accept(batchOf(aWindow()), anySender);
    void ingest.accept(batchOf(aWindow({ cpuTimeNanos: 1n })), anySender);
    const precedences = spool.payloads.map((payload) => payload.readBigUInt64LE(payload.length - 8));
    expect(precedences[0]).toBeGreaterThan(precedences[1] ?? 0n);
  });

  it('keeps the good windows of a batch with bad ones', async () => {
    const spool = new HeldSpool();
    const { ingest } = ingestOn(spool);
    const verdict = ingest.accept(batchOf(aWindow({ vmId: '' }), aWindow(), aWindow({ region: '' })), anySender);
    spool.syncs[0]?.resolve();
    const { faults, ...counts } = await verdict;
    expect(counts).toEqual({ accepted: 1, duplicate: 0, conflicting: 0, refused: 2 });
    expect(faults.map(({ index, fault }) => [index, fault.field])).toEqual([
      [0, 'vm_id'],
      [2, 'region'],
    ]);
  });

  it('tells of refused windows once the others are on disk, and of no conflicting ones', async () => {
    const spool = new HeldSpool();
    const { ingest, refused } = ingestOn(spool);
    const bad = aWindow({ region: '' });
    const verdict = ingest.accept(batchOf(aWindow(), aWindow({ cpuTimeNanos: 1n }), bad), anySender);
    expect(await isSettled(verdict)).toBe(false);
    expect(refused).toEqual([]);
    spool.syncs[0]?.resolve();
    expect(await verdict).toMatchObject({ accepted: 1, conflicting: 1, refused: 1 });
    expect(refused).toMatchObject([{ credentialId: anySender.credentialId, instanceId: 'metald-1' }]);
    expect(refused[0]?.windows).toMatchObject([{ metrics: bad, fault: { field: 'region' } }]);
  });

  it('tells of windows that only the right to backfill let in', async () => {
    const spool = new HeldSpool();
    const { ingest, backfilled } = ingestOn(spool);
    const end = NOW_MS - 40 * 86_400_000;
    const late = { windowStart: timestampFromMs(end - 60_000), windowEnd: timestampFromMs(end) };
    const verdict = ingest.accept(batchOf(aWindow(), aWindow({ ...late, vmId: 'old' })), {
      ...anySender,
      backfill: true,
    });
    spool.syncs[0]?.resolve();
    await verdict;
    const toNanos = BigInt(end) * 1_000_000n;
    expect(backfilled).toEqual([{ windows: 1, fromNanos: toNanos - 60_000_000_000n, toNanos }]);
  });

  it('refuses a batch that is empty, too large, or of counters that count nobody knows how', async () => {
    const { ingest } = ingestOn(new HeldSpool());
    await expect(ingest.accept(batchOf(), anySender)).rejects.toMatchObject({ kind: 'invalid_argument' });
    const eleven = Array.from({ length: 11 }, () => aWindow());
    await expect(ingest.accept(batchOf(...eleven), anySender)).rejects.toThrow('11 windows in one batch, more than 10');
    // A later version of the contract may have one, and the decoder passes it on.
    const metrics = [aWindow()];
    const unknown = fromBinary(SendMetricsBatchRequestSchema, Buffer.from([0x20, 7]));
    expect(unknown.counterTemporality).toBe(7);
    await expect(ingest.accept({ ...unknown, metrics }, anySender)).rejects.toMatchObject({
      field: 'counter_temporality',
    });
  });

  it('notes both hours that a window reaches into', async () => {
    const spool = new HeldSpool();
    const { ingest } = ingestOn(spool);
    const across = {
      windowStart: timestampFromMs(Date.UTC(2026, 5, 10, 9, 59, 30)),
      windowEnd: timestampFromMs(Date.UTC(2026, 5, 10, 10, 0, 30)),
    };
    void ingest.accept(batchOf(aWindow(across)), anySender);
    const hours = decodeRecord(spool.payloads[0] ?? Buffer.alloc(0)).touched.map(([, hour]) => hour);
    expect(hours).toEqual([Date.UTC(2026, 5, 10, 9) / 1000, Date.UTC(2026, 5, 10, 10) / 1000]);
  });
});
