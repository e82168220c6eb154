import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { billingWindow } from '../../src/usage/billing-window.ts';
import { rollUp } from '../../src/usage/rollup.ts';
import { UsageForBilling } from '../../src/usage/usage-for-billing.ts';
import { clickHouseForTest } from '../database.ts';
import { reading, storeReadings, touchAround } from './readings.ts';
import { storedByRegion } from './rolled-up-hours.ts';
import { BASE, HOUR, MINUTE, report, store, valueHash } from './stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();
const billing = new UsageForBilling(client);

describe('billingWindow', () => {
  it('shows the first report, where it came from, and its exact share of each hour', async () => {
    const customerId = randomUUID();
    const startNanos = BASE + HOUR - 7n;
    const stored = report(customerId, 0, {
      startNanos,
      endNanos: startNanos + MINUTE,
      cpuTimeNanos: 2n ** 64n - 1n,
      receipt: 5n,
    });
    await store(client, [stored]);
    const request = { customerId, vmId: 'vm-1', startNanos, endNanos: undefined };
    const found = await billingWindow(client, request, signal);
    const { receipt, ...window } = stored;
    expect(found.report).toEqual({
      ...window,
      sampledAtNanos: stored.endNanos,
      cpuUtilizationPct: 12.5,
      cpuCoresUsed: 0.5,
      memoryBytesUsed: 7n,
      memoryBytesPeak: 8n,
      bootId: 'boot-1',
      receivedAtNanos: BASE + receipt,
      credentialId: 'key-1',
      instanceId: 'metald-1',
      sequence: 3n,
      valueHash: valueHash(stored),
    });
    expect([found.conflicting, found.readings]).toEqual([[], []]);
    expect(found.hours.map((hour) => [hour.startNanos, hour.share.observedNanos, hour.rolledUp])).toEqual([
      [BASE, 7n, false],
      [BASE + HOUR, MINUTE - 7n, false],
    ]);
    await rollUp({ clickhouse: client, clock: systemClock, signal });
    const after = await billingWindow(client, { ...request, endNanos: stored.endNanos }, signal);
    expect(after.hours.map((hour) => hour.rolledUp)).toEqual([true, true]);
    // The share said here is what the hour's row got.
    for (const { startNanos: hour, share } of after.hours) {
      const [row] = await storedByRegion(client, customerId, { startNanos: hour, endNanos: hour + HOUR });
      expect(row).toEqual({ region: 'eu', ...share });
    }
  });

  it('lists conflicting reports by receipt, each value once', async () => {
    const customerId = randomUUID();
    const first = report(customerId, 0, { receipt: 1n });
    const second = { ...first, receipt: 2n, cpuTimeNanos: 50n };
    const third = { ...first, receipt: 3n, region: 'us' };
    await store(client, [third, second, { ...first, receipt: 9n }]);
    await store(client, [first]);
    for (const work of [async () => undefined, () => client.command({ query: 'OPTIMIZE TABLE windows FINAL' })]) {
      await work();
      const request = { customerId, vmId: 'vm-1', startNanos: BASE, endNanos: undefined };
      const found = await billingWindow(client, request, signal);
      expect(found.report).toMatchObject({ cpuTimeNanos: 1n, receivedAtNanos: BASE + 1n });
      expect(found.conflicting.map((each) => [each.cpuTimeNanos, each.region])).toEqual([
        [50n, 'eu'],
        [1n, 'us'],
      ]);
    }
  });

  it('finds a window that was derived from readings, with its share of each hour and the readings that it lies between', async () => {
    const customerId = randomUUID();
    const begin = reading(customerId, 50, 100n, { bootId: '', memoryBytesUsed: 4n });
    const end = reading(customerId, 70, 160n, { bootId: '', region: 'us' });
    await storeReadings(client, [begin, end, { ...end, cpuTimeNanos: 170n, receipt: 1n }]);
    await touchAround(client, customerId, [end.atNanos]);
    const request = { customerId, vmId: 'vm-1', startNanos: begin.atNanos, endNanos: undefined };
    const found = await billingWindow(client, request, signal);
    expect(found.report).toMatchObject({
      customerId,
      vmId: 'vm-1',
      region: 'us',
      startNanos: begin.atNanos,
      endNanos: end.atNanos,
      cpuTimeNanos: 60n,
      memoryByteSeconds: 2n * 1200n,
      sampledAtNanos: end.atNanos,
      credentialId: 'key-1',
      counters: undefined,
    });
    const shown = found.readings.map((each) => [each.startNanos, each.endNanos, each.cpuTimeNanos, each.counters]);
    expect(shown).toEqual([
      [begin.atNanos, begin.atNanos, 100n, 'cumulative'],
      [end.atNanos, end.atNanos, 160n, 'cumulative'],
      [end.atNanos, end.atNanos, 170n, 'cumulative'],
    ]);
    expect(found.hours.map(({ share, rolledUp }) => [share.cpuTimeNanos, rolledUp])).toEqual([
      [30n, false],
      [30n, false],
    ]);
    await rollUp({ clickhouse: client, clock: systemClock, signal });
    const after = await billingWindow(client, { ...request, endNanos: end.atNanos }, signal);
    expect(after.hours.every(({ rolledUp }) => rolledUp)).toBe(true);
    for (const { startNanos: hour, share } of after.hours) {
      const [row] = await storedByRegion(client, customerId, { startNanos: hour, endNanos: hour + HOUR });
      expect(row).toEqual({ region: 'us', ...share });
    }
    for (const changes of [{ endNanos: end.atNanos + 1n }, { startNanos: end.atNanos }, { vmId: 'vm-2' }]) {
      await expect(billingWindow(client, { ...request, ...changes }, signal)).rejects.toMatchObject({
        kind: 'not_found',
      });
    }
  });

  it('wants an end where several windows start, and says which there are', async () => {
    const customerId = randomUUID();
    const longer = report(customerId, 0, { endNanos: BASE + 2n * MINUTE });
    await store(client, [report(customerId, 0), longer]);
    const request = { customerId, vmId: 'vm-1', startNanos: BASE, endNanos: undefined };
    const asked = billingWindow(client, request, signal);
    await expect(asked).rejects.toMatchObject({ kind: 'invalid_argument', field: 'window_end' });
    await expect(asked).rejects.toThrow(`${BASE + MINUTE}, ${BASE + 2n * MINUTE} ns`);
    const found = await billingWindow(client, { ...request, endNanos: longer.endNanos }, signal);
    expect(found.report.endNanos).toBe(longer.endNanos);
  });

  it('says what is not there, and what cannot be', async () => {
    const customerId = randomUUID();
    await store(client, [report(customerId, 0)]);
    const request = { customerId, vmId: 'vm-1', startNanos: BASE, endNanos: undefined };
    const ask = (changes: object) => billingWindow(client, { ...request, ...changes }, signal);
    await expect(ask({ startNanos: BASE + 1n })).rejects.toMatchObject({ kind: 'not_found' });
    await expect(ask({ endNanos: BASE + 2n })).rejects.toMatchObject({ kind: 'not_found' });
    await expect(ask({ customerId: randomUUID() })).rejects.toMatchObject({ kind: 'not_found' });
    await expect(ask({ vmId: '' })).rejects.toMatchObject({ kind: 'invalid_argument', field: 'vm_id' });
    await expect(ask({ startNanos: 2n ** 63n })).rejects.toMatchObject({ field: 'window_start' });
    await expect(ask({ endNanos: -1n })).rejects.toMatchObject({ field: 'window_end' });
  });
});

describe('usage for billing', () => {
  it('lists customers page by page, rolled up or not', async () => {
    const prefix = `~${randomUUID()}`;
    await store(
      client,
      ['a', 'b'].map((name) => report(`${prefix}${name}`, 0)),
    );
    await rollUp({ clickhouse: client, clock: systemClock, signal });
    await store(
      client,
      ['b', 'c'].map((name) => report(`${prefix}${name}`, 61)),
    );
    const found = await billing.meteredCustomers(prefix, 2, signal);
    expect(found).toEqual([`${prefix}a`, `${prefix}b`]);
    expect(await billing.meteredCustomers(found.at(-1) ?? '', 2, signal)).toEqual([`${prefix}c`]);
  });
});
