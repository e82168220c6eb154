import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { dateTime64 } from '../../src/storage/clickhouse/date-time.ts';
import { customerUsage } from '../../src/usage/customer-usage.ts';
import { type Gap, type GapKey, listGaps } from '../../src/usage/gaps.ts';
import { rollUp } from '../../src/usage/rollup.ts';
import { select } from '../../src/usage/select.ts';
import { clickHouseForTest } from '../database.ts';
import { minute, storeNotices, touchAround } from './readings.ts';
import { BASE, HOUR, MINUTE, report, store } from './stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();
const SECOND = 1_000_000_000n;
const run = () => rollUp({ clickhouse: client, clock: systemClock, signal });

function gapsOf(customerId: string, after?: GapKey, limit = 100, vmIds: string[] = []): Promise<Gap[]> {
  const filter = { customerId, vmIds, startNanos: BASE, endNanos: BASE + 4n * HOUR };
  return listGaps(client, filter, { after, limit }, signal);
}

/** Minutes after `BASE`. */
function shown({ startNanos, endNanos, vmId, region, evidence, filled }: Gap) {
  const minutes = [startNanos, endNanos].map((at) => Number((at - BASE) / MINUTE));
  const cpu = filled && [filled.interpolated.cpuTimeNanos / SECOND, filled.carried.cpuTimeNanos / SECOND];
  return [vmId, region, ...minutes, evidence, cpu];
}

async function storeHeartbeat(receivedAtNanos: bigint, vmIds: readonly string[], keyId = 'key-1'): Promise<void> {
  const row = {
    received_at: dateTime64(receivedAtNanos),
    credential_id: keyId,
    instance_id: 'metald-1',
    region: 'eu',
    vm_ids: vmIds,
  };
  await client.insert({ table: 'heartbeats', values: [row], format: 'JSONEachRow' });
}

describe('gaps', () => {
  it('are listed a full page at a time, whatever the names of VMs', async () => {
    const customerId = randomUUID();
    const vms = Array.from({ length: 600 }, (_, index) => String(index).padStart(3, '0') + "'".repeat(125));
    await store(
      client,
      vms.flatMap((vmId) => [0, 10].map((at) => report(customerId, at, { vmId }))),
    );
    expect((await gapsOf(customerId, undefined, 1001)).map(({ vmId }) => vmId)).toEqual(vms);
    const ofSome = gapsOf(customerId, undefined, 1001, vms);
    await expect(ofSome).rejects.toThrow(/vm_ids takes \d+ bytes as ClickHouse is sent it, more than 130972/);
    expect(await gapsOf(customerId, undefined, 1001, vms.slice(0, 150))).toHaveLength(150);
  });

  it('are listed with how they are known and what would be filled in, the same before and after the rollup', async () => {
    const customerId = randomUUID();
    const vms = ['a', 'b', 'c'].map((name) => `${name}-${customerId}`);
    const [silent = '', stopped = '', told = ''] = vms;
    const cpu = (seconds: bigint) => ({ cpuTimeNanos: seconds * SECOND });
    await store(client, [
      report(customerId, 0, { vmId: silent, ...cpu(6n) }),
      report(customerId, 6, { vmId: silent, region: 'us', ...cpu(12n) }),
      report(customerId, 100, { vmId: silent, region: 'us', endNanos: minute(180), ...cpu(6n) }),
      report(customerId, 0, { vmId: stopped }),
      report(customerId, 30, { vmId: stopped }),
      report(customerId, 10, { vmId: told, ...cpu(6n) }),
      report(customerId, 16, { vmId: told, ...cpu(12n) }),
    ]);
    await storeNotices(client, [
      { vmId: stopped, kind: 'stopped', atNanos: minute(4), customerId: '' },
      { vmId: stopped, kind: 'started', atNanos: minute(27), customerId },
      { vmId: told, kind: 'possible_gap', atNanos: minute(11), untilNanos: minute(16), customerId: '' },
      { vmId: told, kind: 'stopped', atNanos: minute(18), customerId },
    ]);
    const expected = (isFilled: boolean) => [
      [stopped, 'eu', 1, 4, 'lifecycle', undefined],
      [silent, 'us', 1, 6, 'windows', isFilled ? [45n, 30n] : undefined],
      [silent, 'us', 7, 100, 'windows', undefined],
      [told, 'eu', 11, 16, 'host', isFilled ? [45n, 30n] : undefined],
      [stopped, 'eu', 27, 30, 'lifecycle', undefined],
    ];
    const sorted = (rows: unknown[][]) =>
      rows.toSorted((x, y) => Number(x[2]) - Number(y[2]) || (String(x[0]) < String(y[0]) ? -1 : 1));
    expect((await gapsOf(customerId)).map(shown)).toEqual(sorted(expected(false)));
    await run();
    const all = await gapsOf(customerId);
    expect(all.map(shown)).toEqual(sorted(expected(true)));
    // Pages of two, and of one VM.
    const paged: Gap[] = [];
    for (;;) {
      const page = await gapsOf(customerId, paged.at(-1), 2);
      paged.push(...page);
      if (page.length < 2) break;
    }
    expect(paged).toEqual(all);
    expect((await gapsOf(customerId, undefined, 100, [told])).map(shown)).toEqual([
      [told, 'eu', 11, 16, 'host', [45n, 30n]],
    ]);
    expect(await gapsOf(randomUUID())).toEqual([]);
  });

  it('go on behind the last sign as far as heartbeats name the VM, unless it was stopped, and are expected time', async () => {
    const customerId = randomUUID();
    const [alive, stopped, other] = [`a-${customerId}`, `s-${customerId}`, `o-${customerId}`];
    // Heartbeats are kept for 35 days, so these are of today.
    const base = (systemClock.nowNanos() / HOUR) * HOUR - 4n * HOUR;
    const at = (minutes: bigint) => base + minutes * MINUTE;
    await store(client, [
      report(customerId, 0, { vmId: alive, startNanos: at(20n), endNanos: at(21n) }),
      report(customerId, 0, { vmId: alive, startNanos: at(40n), endNanos: at(41n) }),
      report(customerId, 0, { vmId: stopped, startNanos: at(40n), endNanos: at(41n) }),
      report(customerId, 0, { vmId: other, region: 'us', startNanos: at(93n), endNanos: at(94n) }),
    ]);
    await storeNotices(client, [{ vmId: stopped, kind: 'stopped', atNanos: at(42n), customerId: '' }]);
    await storeHeartbeat(at(90n), [alive, stopped]);
    await storeHeartbeat(at(95n), [stopped, alive, other]);
    const seen = async (hours: bigint, regions: string[] = []) => {
      const range = { customerId, vmIds: [], startNanos: base, endNanos: base + hours * HOUR };
      const found = await listGaps(client, range, { after: undefined, limit: 9 }, signal);
      const request = { ...range, groupBy: [], regions, pageSize: 0, pageToken: '' };
      const { completeness, gaps } = await customerUsage(client, request, signal);
      const { expectedNanos, gapNanos } = completeness;
      const sums = { expected: expectedNanos / MINUTE, nanos: gapNanos / MINUTE, counted: completeness.gaps };
      return { found, gaps, ...sums };
    };
    const silent = { vmId: alive, startNanos: at(41n), endNanos: at(95n) };
    const between = { vmId: alive, startNanos: at(21n), endNanos: at(40n) };
    const ofRange = {
      found: [
        { ...between, region: 'eu', evidence: 'windows', filled: undefined },
        { ...silent, region: 'eu', evidence: 'heartbeat', filled: undefined },
      ],
      gaps: [between, silent],
      expected: 75n + 2n + 1n,
      nanos: 19n + 54n,
      counted: 2n,
    };
    // The range that is asked for may go on long after now.
    for (const hours of [2n, 24n * 30n]) expect(await seen(hours)).toEqual(ofRange);
    expect(await seen(2n, ['us'])).toMatchObject({ gaps: [], expected: 1n, nanos: 0n });
    expect(await seen(1n)).toMatchObject({ gaps: [between], expected: 21n + 2n });
    await run();
    expect(await seen(2n)).toMatchObject({ gaps: ofRange.gaps, expected: 78n });
  });

  it('are not changed by what a key tells of VMs of customers that it may not report for', async () => {
    const [own, theirs] = [randomUUID(), randomUUID()];
    const keyId = `key-of-${own}`;
    const rows = ['', own, randomUUID()].map((customer_id) => ({ credential_id: keyId, customer_id }));
    await client.insert({ table: 'key_customers', values: rows, format: 'JSONEachRow' });
    // VMs of both customers have the same names. Heartbeats are kept for 35 days, so these are of today.
    const base = (systemClock.nowNanos() / HOUR) * HOUR - 4n * HOUR;
    const at = (minutes: bigint) => base + minutes * MINUTE;
    const [stopped, told, alive] = ['s', 't', 'a'].map((name) => `${name}-${own}`);
    const windowsOf = (customerId: string) =>
      [stopped, told, alive].flatMap((vmId) => {
        const starts = vmId === alive ? [0n] : [0n, 30n];
        return starts.map((start) =>
          report(customerId, 0, { vmId: vmId ?? '', startNanos: at(start), endNanos: at(start + 1n) }),
        );
      });
    await store(client, [...windowsOf(own), ...windowsOf(theirs)]);
    await run();
    await storeNotices(client, [
      { vmId: stopped ?? '', kind: 'stopped', atNanos: at(5n), customerId: '', keyId },
      { vmId: told ?? '', kind: 'possible_gap', atNanos: at(1n), untilNanos: at(30n), customerId: '', keyId },
    ]);
    await storeHeartbeat(at(50n), [alive ?? ''], keyId);
    await touchAround(client, '', [at(5n)]);
    const gaps = async (customerId: string) => {
      const filter = { customerId, vmIds: [], startNanos: base, endNanos: base + 2n * HOUR };
      const found = await listGaps(client, filter, { after: undefined, limit: 9 }, signal);
      const byVm = found.toSorted((a, b) => (a.vmId < b.vmId ? -1 : 1));
      return byVm.map((gap) => [gap.vmId.slice(0, 1), (gap.endNanos - base) / MINUTE, gap.evidence]);
    };
    await run();
    const ofTheirs = [
      ['s', 30n, 'windows'],
      ['t', 30n, 'windows'],
    ];
    expect(await gaps(theirs)).toEqual(ofTheirs);
    expect(await gaps(own)).toEqual([
      ['a', 50n, 'heartbeat'],
      ['s', 5n, 'lifecycle'],
      ['t', 30n, 'host'],
    ]);
    // Computed anew for another reason, it is the same.
    await store(client, windowsOf(theirs));
    expect(await gaps(theirs)).toEqual(ofTheirs);
    await run();
    expect(await gaps(theirs)).toEqual(ofTheirs);
  });

  it('are computed anew when a stop is told later that names the VM alone', async () => {
    const customerId = randomUUID();
    const vmId = `vm-${customerId}`;
    await store(client, [report(customerId, 0, { vmId }), report(customerId, 30, { vmId })]);
    await run();
    expect((await gapsOf(customerId)).map((gap) => shown(gap).slice(2, 5))).toEqual([[1, 30, 'windows']]);
    await storeNotices(client, [{ vmId, kind: 'stopped', atNanos: minute(5), customerId: '' }]);
    await touchAround(client, '', [minute(5)]);
    await run();
    expect((await gapsOf(customerId)).map((gap) => shown(gap).slice(2, 5))).toEqual([[1, 5, 'lifecycle']]);
    expect(
      await select(client, `SELECT 1 FROM touched_hours WHERE customer_id IN ('', '${customerId}')`, {}, signal),
    ).toEqual([]);
  });
});
