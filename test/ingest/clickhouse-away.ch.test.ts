import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { CounterTemporality } from '../../gen/billing/v1/metrics_pb.ts';
import { type Collector, startCollector } from '../../src/ingest/collector.ts';
import type { StoreFailure } from '../../src/ingest/store-pass.ts';
import type { CircuitChange } from '../../src/lib/circuit-breaker.ts';
import { connectClickHouse } from '../../src/storage/clickhouse/client.ts';
import { migrateClickHouse } from '../../src/storage/clickhouse/migrate.ts';
import { startClickHouse } from '../../src/storage/embedded/clickhouse.ts';
import { anySender, aWindow, NOW_MS } from './a-window.ts';

const clock = { nowMs: () => NOW_MS, nowNanos: () => BigInt(NOW_MS) * 1_000_000n };
const WINDOWS = 50;

/** A ClickHouse of this test's own, since it is going to be stopped, and its process. */
async function aClickHouse(folder: string) {
  const engine = await startClickHouse({ folder, readyTimeoutMs: 20_000, onLog: () => undefined });
  onTestFinished(() => engine.stop());
  await migrateClickHouse({ url: engine.url, withLock: (work) => work() });
  const client = connectClickHouse({ url: engine.url });
  onTestFinished(() => client.close());
  const status = await readFile(join(folder, 'data', 'status'), 'utf8');
  return { client, pid: Number(/PID: (\d+)/.exec(status)?.[1]) };
}

/** Sends a batch of new windows. @returns how many were acknowledged */
async function send(collector: Collector, batch: number): Promise<number> {
  const metrics = Array.from({ length: WINDOWS }, (_, i) => aWindow({ vmId: `vm-${batch}-${i}` }));
  const call = {
    metrics,
    instanceId: 'i',
    sequence: BigInt(batch),
    counterTemporality: CounterTemporality.UNSPECIFIED,
  };
  return (await collector.ingest.accept(call, anySender)).accepted;
}

it('acknowledges while ClickHouse hangs, loses nothing, and stores it all once when it goes on', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'meterd-away-'));
  onTestFinished(() => rm(parent, { recursive: true, force: true }));
  const { client, pid } = await aClickHouse(join(parent, 'clickhouse'));
  const failures: StoreFailure[] = [];
  const circuits: CircuitChange[] = [];
  /** Resolved at the first opening and at the second. */
  const opened = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
  const collector = await startCollector({
    dataDir: parent,
    clickhouse: client,
    clock,
    limits: {
      batchWindowsMax: 10_000,
      lateDaysMax: 35,
      rawDays: 400,
      aheadSecondsMax: 300,
      dedupKeysMax: 10_000,
      spoolQuotaBytes: 512 * 1024 * 1024,
    },
    storeTimeoutMs: 1_000,
    onAccepted: () => undefined,
    onBackfilled: () => undefined,
    onRefused: () => undefined,
    onVerdict: () => undefined,
    onSpoolEvent: () => undefined,
    onStored: () => undefined,
    onFailed: (failure) => failures.push(failure),
    onCircuit: (change) => {
      circuits.push(change);
      const openings = circuits.filter(({ circuit }) => circuit.name === 'open').length;
      opened[openings - 1]?.resolve();
    },
    onSetAside: () => undefined,
  });
  onTestFinished(() => collector.stop());
  let acknowledged = await send(collector, 0);
  await collector.settle(AbortSignal.timeout(30_000));

  process.kill(pid, 'SIGSTOP');
  for (let batch = 1; batch <= 20; batch++) acknowledged += await send(collector, batch);
  await opened[0].promise;
  expect(collector.clickHouse().circuit).not.toBe('closed');
  expect(collector.clickHouse().awayMs).toBeGreaterThan(0);
  for (let batch = 21; batch <= 40; batch++) acknowledged += await send(collector, batch);
  // A probe, which hangs as well.
  await opened[1].promise;
  expect(new Set(failures)).toEqual(new Set(['timeout']));
  process.kill(pid, 'SIGCONT');

  await collector.settle(AbortSignal.timeout(60_000));
  expect(acknowledged).toBe(41 * WINDOWS);
  expect(collector.stats().unappliedRecords).toBe(0);
  const answer = await client.query({ query: 'SELECT count() AS n FROM windows FINAL', format: 'JSONEachRow' });
  expect(await answer.json()).toEqual([{ n: String(acknowledged) }]);
  expect(circuits[0]?.circuit).toMatchObject({ name: 'open', reason: { name: 'StoreTimeout' } });
  expect(circuits.at(-1)?.circuit.name).toBe('closed');
  expect(collector.clickHouse()).toEqual({ circuit: 'closed', awayMs: 0 });
});
