import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { billingWindow } from '../../src/usage/billing-window.ts';
import { type Conflict, listConflicts, resolveConflict, type WindowKey } from '../../src/usage/conflicts.ts';
import { removeExpired } from '../../src/usage/retention.ts';
import { rollUp } from '../../src/usage/rollup.ts';
import { customerUsage } from '../../src/usage/customer-usage.ts';
import { clickHouseForTest } from '../database.ts';
import { type Reading, reading, storeReadings, touchAround, valueHash as readingHash } from './readings.ts';
import { storedByRegion, waitingHours } from './rolled-up-hours.ts';
import { BASE, HOUR, MINUTE, type Report, report, store, valueHash } from './stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();
const DAY = { startNanos: BASE, endNanos: BASE + 24n * HOUR };

function decisions(failing = false) {
  const recorded: bigint[] = [];
  const record = async (_: WindowKey, { valueHash: chosen }: { valueHash: bigint }): Promise<void> => {
    if (failing) throw new Error('no record');
    recorded.push(chosen);
  };
  return { recorded, conflicts: { clickhouse: client, clock: systemClock, rawDays: 4000, record } };
}

/** A window of 7 and of 9 nanoseconds of CPU time, across an hour's edge; the first has been rolled up. */
async function twoReports(): Promise<readonly [Report, Report]> {
  const startNanos = BASE + HOUR - MINUTE / 2n;
  const first = report(randomUUID(), 0, { startNanos, endNanos: startNanos + MINUTE, cpuTimeNanos: 7n });
  const second = { ...first, cpuTimeNanos: 9n, region: 'us', receipt: 1n };
  await store(client, [second, first]);
  await rollUp({ clickhouse: client, clock: systemClock, signal });
  return [first, second];
}

async function usage(customerId: string): Promise<string[]> {
  await rollUp({ clickhouse: client, clock: systemClock, signal });
  const rows = await storedByRegion(client, customerId, DAY);
  return rows.map((row) => `${row.region} ${row.cpuTimeNanos}`);
}

async function listed(customerId: string, includeResolved = false): Promise<Conflict[]> {
  return listConflicts(client, { customerId, includeResolved, ...DAY }, { after: undefined, limit: 100 }, signal);
}

function choice(of: Report) {
  const { customerId, vmId, startNanos, endNanos } = of;
  return { customerId, vmId, startNanos, endNanos, valueHash: valueHash(of), reason: 'its host was right' };
}

describe('a conflict', () => {
  it('is listed with both values, who sent them and when, until somebody decides', async () => {
    const [first, second] = await twoReports();
    const found = await listed(first.customerId);
    expect(found).toMatchObject([{ vmId: 'vm-1', startNanos: first.startNanos, resolution: undefined }]);
    expect(found[0]?.reports).toMatchObject([
      { cpuTimeNanos: 7n, valueHash: valueHash(first), receivedAtNanos: BASE, credentialId: 'key-1' },
      { cpuTimeNanos: 9n, valueHash: valueHash(second), receivedAtNanos: BASE + 1n },
    ]);
    await resolveConflict(decisions().conflicts, choice(second), 'key-op', signal);
    expect(await listed(first.customerId)).toEqual([]);
    const [resolved] = await listed(first.customerId, true);
    expect(resolved?.reports).toHaveLength(2);
    expect(resolved?.resolution).toMatchObject({
      valueHash: valueHash(second),
      resolvedBy: 'key-op',
      reason: 'its host was right',
    });
  });

  it('counts the report that was chosen, in both hours, and the other one when that is chosen', async () => {
    const [first, second] = await twoReports();
    const { customerId, vmId, startNanos } = first;
    expect(await usage(customerId)).toEqual(['eu 7']);
    const { conflicts, recorded } = decisions();
    await resolveConflict(conflicts, choice(second), 'key-op', signal);
    expect(await waitingHours(client, customerId, DAY)).toBe(2);
    expect(await usage(customerId)).toEqual(['us 9']);
    const shown = await billingWindow(client, { customerId, vmId, startNanos, endNanos: undefined }, signal);
    expect([shown.report, ...shown.conflicting].map((each) => each.cpuTimeNanos)).toEqual([9n, 7n]);
    await resolveConflict(conflicts, choice(first), 'key-op', signal);
    expect(await usage(customerId)).toEqual(['eu 7']);
    expect(recorded).toEqual([valueHash(second), valueHash(first)]);
  });

  it('decided in the same way again changes nothing but computes the hours anew', async () => {
    const [first, second] = await twoReports();
    const { conflicts, recorded } = decisions();
    const once = await resolveConflict(conflicts, choice(second), 'key-op', signal);
    expect(await usage(first.customerId)).toEqual(['us 9']);
    const again = await resolveConflict(conflicts, { ...choice(second), reason: 'again' }, 'key-2', signal);
    expect(again.resolution).toEqual(once.resolution);
    expect(recorded).toHaveLength(1);
    expect(await waitingHours(client, first.customerId, DAY)).toBe(2);
    expect(await usage(first.customerId)).toEqual(['us 9']);
  });

  it('counts also where the try that decided it ended right behind the decision', async () => {
    const [first, second] = await twoReports();
    let isDecided = false;
    const dying = new Proxy(client, {
      get(target, name) {
        if (name !== 'insert') return Reflect.get(target, name) as unknown;
        return async (options: Parameters<typeof client.insert>[0]) => {
          if (isDecided) throw new Error('killed');
          isDecided = options.table === 'conflict_resolutions';
          return target.insert(options);
        };
      },
    });
    const deciding = resolveConflict({ ...decisions().conflicts, clickhouse: dying }, choice(second), 'key-op', signal);
    await expect(deciding).rejects.toThrow('killed');
    expect(await usage(first.customerId)).toEqual(['us 9']);
  });

  it('stays open where the decision could not be put on record', async () => {
    const [first, second] = await twoReports();
    const deciding = resolveConflict(decisions(true).conflicts, choice(second), 'key-op', signal);
    await expect(deciding).rejects.toThrow('no record');
    expect(await listed(first.customerId)).toHaveLength(1);
    expect(await usage(first.customerId)).toEqual(['eu 7']);
  });

  it('is refused a hash that no report has; a window that is no conflict, or is not there, has none to decide', async () => {
    const [first, second] = await twoReports();
    const { conflicts } = decisions();
    const resolve = (changes: object) => resolveConflict(conflicts, { ...choice(second), ...changes }, 'k', signal);
    await expect(resolve({ valueHash: 1n })).rejects.toMatchObject({ kind: 'invalid_argument', field: 'value_hash' });
    await expect(resolve({ reason: '' })).rejects.toMatchObject({ kind: 'invalid_argument', field: 'reason' });
    await expect(resolve({ vmId: 'vm-2' })).rejects.toMatchObject({ kind: 'not_found' });
    const alone = report(first.customerId, 5);
    await store(client, [alone, { ...alone, receipt: 9n }]);
    const deciding = resolveConflict(conflicts, choice(alone), 'k', signal);
    await expect(deciding).rejects.toMatchObject({ kind: 'failed_precondition' });
  });
});

/**
 * Readings of 100, 160 and 190 at 55, 65 and 75 minutes; at 65 there was 170 too. The windows between them lie across an hour's edge,
 * and in one.
 */
async function twoReadings(): Promise<readonly [Reading, Reading]> {
  const customerId = randomUUID();
  const first = reading(customerId, 65, 160n);
  const second = { ...first, cpuTimeNanos: 170n, receipt: 1n };
  await storeReadings(client, [reading(customerId, 55, 100n), second, first, reading(customerId, 75, 190n)]);
  await touchAround(client, customerId, [first.atNanos]);
  return [first, second];
}

function choiceOf(of: Reading) {
  const { customerId, vmId, atNanos } = of;
  const instant = { startNanos: atNanos, endNanos: atNanos };
  return { customerId, vmId, ...instant, valueHash: readingHash(of), reason: 'its host was right' };
}

describe('a conflict of readings', () => {
  it('is listed with both values as a window without length, before the rollup and after it, until somebody decides', async () => {
    const [first, second] = await twoReadings();
    const instant = { startNanos: first.atNanos, endNanos: first.atNanos };
    for (const roll of [false, true]) {
      if (roll) await rollUp({ clickhouse: client, clock: systemClock, signal });
      const found = await listed(first.customerId);
      expect(found).toMatchObject([{ vmId: 'vm-1', ...instant, resolution: undefined }]);
      expect(found[0]?.reports).toMatchObject([
        { ...instant, cpuTimeNanos: 160n, valueHash: readingHash(first), counters: 'cumulative', bootId: 'boot-1' },
        { ...instant, cpuTimeNanos: 170n, valueHash: readingHash(second), credentialId: 'key-1' },
      ]);
    }
    await resolveConflict(decisions().conflicts, choiceOf(second), 'key-op', signal);
    expect(await listed(first.customerId)).toEqual([]);
    expect(await listed(first.customerId, true)).toMatchObject([{ resolution: { valueHash: readingHash(second) } }]);
  });

  it('counts the reading that was chosen, in every hour that it changes, and the other one when that is chosen', async () => {
    const [first, second] = await twoReadings();
    const { customerId } = first;
    const shown = async () => {
      await rollUp({ clickhouse: client, clock: systemClock, signal });
      const asked = {
        customerId,
        ...DAY,
        groupBy: ['hour'] as const,
        regions: [],
        vmIds: [],
        pageSize: 0,
        pageToken: '',
      };
      const { groups, completeness } = await customerUsage(client, asked, signal);
      return [groups.map(({ quantities }) => quantities.cpuTimeNanos), completeness.conflicts];
    };
    // Of 60 from 55 to 65 minutes half is in each hour, with 30 more in the later. Both windows rest on the reading in doubt.
    expect(await shown()).toEqual([[30n, 60n], 2n]);
    const { conflicts, recorded } = decisions();
    const resolved = await resolveConflict(conflicts, choiceOf(second), 'key-op', signal);
    expect(resolved).toMatchObject({ startNanos: first.atNanos, resolution: { resolvedBy: 'key-op' } });
    expect(await shown()).toEqual([[35n, 55n], 0n]);
    await resolveConflict(conflicts, choiceOf(first), 'key-op', signal);
    expect(await shown()).toEqual([[30n, 60n], 0n]);
    expect(recorded).toEqual([readingHash(second), readingHash(first)]);
  });

  it('that was too high makes no failed reads of what is two hours behind it, once the other is chosen', async () => {
    const customerId = randomUUID();
    const high = reading(customerId, 30, 9_000n);
    const right = { ...high, cpuTimeNanos: 1_030n, receipt: 1n };
    const others = [29, 31, 89, 100, 119, 121, 150].map((at) => reading(customerId, at, 1_000n + BigInt(at)));
    await storeReadings(client, [high, right, ...others]);
    await touchAround(client, customerId, [high.atNanos, BASE + 3n * HOUR]);
    expect(await usage(customerId)).toEqual([`eu ${8_000n - 29n + 29n}`]);
    await resolveConflict(decisions().conflicts, choiceOf(right), 'key-op', signal);
    expect(await usage(customerId)).toEqual([`eu ${150n - 29n}`]);
  });

  it('is refused a hash that no report has; where there is one value, or none, there is nothing to decide', async () => {
    const [first, second] = await twoReadings();
    const { conflicts } = decisions();
    const resolve = (changes: object) => resolveConflict(conflicts, { ...choiceOf(second), ...changes }, 'k', signal);
    await expect(resolve({ valueHash: 1n })).rejects.toMatchObject({ kind: 'invalid_argument', field: 'value_hash' });
    const nowhere = { startNanos: first.atNanos + 1n, endNanos: first.atNanos + 1n };
    await expect(resolve(nowhere)).rejects.toThrow(/no reading is stored/);
    const alone = reading(first.customerId, 75, 190n);
    const deciding = resolveConflict(conflicts, choiceOf(alone), 'k', signal);
    await expect(deciding).rejects.toMatchObject({ kind: 'failed_precondition' });
  });
});

describe('a conflict at the edge of a month', () => {
  /** The end of February, with windows and readings that reach over it, rolled up. */
  async function overTheEdge() {
    const crossing = report(randomUUID(), 0, {
      startNanos: BASE - MINUTE / 2n,
      endNanos: BASE + MINUTE / 2n,
      cpuTimeNanos: 8n,
    });
    const { customerId } = crossing;
    const inDoubt = report(customerId, 1, { cpuTimeNanos: 10n });
    const other = { ...inDoubt, cpuTimeNanos: 20n, receipt: 1n };
    await store(client, [crossing, inDoubt, other]);
    await rollUp({ clickhouse: client, clock: systemClock, signal });
    return { customerId, inDoubt, other };
  }
  /** The clock at which retention removes February, and no earlier. */
  const rawDays = 100;
  const removedAtNanos = BASE + HOUR + BigInt(rawDays + 32) * 24n * HOUR;
  const clockAt = (nanos: bigint) => ({ nowMs: () => Number(nanos / 1_000_000n), nowNanos: () => nanos });

  it('is decided as long as all is there that its hours are computed from', async () => {
    const { customerId, other } = await overTheEdge();
    expect(await usage(customerId)).toEqual(['eu 14']);
    const clock = clockAt(other.endNanos + BigInt(rawDays) * 24n * HOUR - 2n * HOUR);
    await resolveConflict({ ...decisions().conflicts, clock, rawDays }, choice(other), 'key-op', signal);
    expect(await usage(customerId)).toEqual(['eu 24']);
  });

  it('is refused once the month before may be gone, and no hour changes', async () => {
    const { customerId, other } = await overTheEdge();
    const options = { clickhouse: client, rawDays, hoursDays: 4000, keepFrom: undefined, signal };
    await rollUp({ clickhouse: client, clock: systemClock, signal });
    const removed = await removeExpired({ ...options, nowMs: Number(removedAtNanos / 1_000_000n) });
    expect(removed).toContainEqual({ table: 'windows', month: '202602' });
    const { conflicts, recorded } = decisions();
    const deciding = resolveConflict(
      { ...conflicts, clock: clockAt(removedAtNanos), rawDays },
      choice(other),
      'k',
      signal,
    );
    await expect(deciding).rejects.toMatchObject({ kind: 'out_of_range', field: 'window_end' });
    expect(recorded).toEqual([]);
    // Half of the window over the edge, whose start is gone, and the report that came first.
    expect(await usage(customerId)).toEqual(['eu 14']);
  });
});

describe('a list of conflicts', () => {
  it('of all customers has those of each, in hours that wait for the rollup and in those that do not', async () => {
    const [rolledUp] = await twoReports();
    const [decided, chosen] = await twoReports();
    await resolveConflict(decisions().conflicts, choice(chosen), 'key-op', signal);
    const waiting = report(randomUUID(), 5);
    const alone = report(randomUUID(), 5);
    await store(client, [waiting, { ...waiting, cpuTimeNanos: 99n, receipt: 1n }, alone]);
    const [read] = await twoReadings();
    for (const includeResolved of [false, true]) {
      for (const roll of [false, true]) {
        if (roll) await rollUp({ clickhouse: client, clock: systemClock, signal });
        // Sooner or later earlier versions of an hour go.
        if (roll) await client.command({ query: 'OPTIMIZE TABLE usage_hours FINAL' });
        const all = await listConflicts(
          client,
          { customerId: '', includeResolved, ...DAY },
          { after: undefined, limit: 1000 },
          signal,
        );
        for (const { customerId } of [rolledUp, decided, waiting, alone, read]) {
          const own = all.filter((each) => each.customerId === customerId);
          expect(own, `${includeResolved} ${roll}`).toEqual(await listed(customerId, includeResolved));
          const isListed = customerId !== alone.customerId && (includeResolved || customerId !== decided.customerId);
          expect(own).toHaveLength(isListed ? 1 : 0);
        }
      }
    }
  });

  it('has pages that cover each once, in the order of customer, VM and time', async () => {
    const run = randomUUID();
    const windows = ['a', 'b'].flatMap((name) =>
      [3, 1, 2].map((minute) => report(`${run}-${name}`, minute, { vmId: `vm-${minute % 2}` })),
    );
    await store(
      client,
      windows.flatMap((each) => [each, { ...each, cpuTimeNanos: 99n, receipt: 1n }]),
    );
    for (const customerId of [`${run}-a`, `${run}-b`]) {
      const first = reading(customerId, 1, 5n);
      await storeReadings(client, [first, { ...first, cpuTimeNanos: 6n, receipt: 1n }]);
      await touchAround(client, customerId, [first.atNanos]);
    }
    const keys: string[] = [];
    for (let after: Conflict | undefined; ;) {
      const filter = { customerId: '', includeResolved: false, ...DAY };
      const page = await listConflicts(client, filter, { after, limit: 2 }, signal);
      expect(page.every(({ reports }) => reports.length === 2)).toBe(true);
      const minuteOf = (nanos: bigint) => (nanos - BASE) / MINUTE;
      keys.push(
        ...page.map((each) =>
          [each.customerId, each.vmId, minuteOf(each.startNanos), minuteOf(each.endNanos)].join(' '),
        ),
      );
      after = page.at(-1);
      if (page.length < 2) break;
    }
    const expected = ['a', 'b'].flatMap((name) =>
      ['vm-0 2 3', 'vm-1 1 1', 'vm-1 1 2', 'vm-1 3 4'].map((rest) => `${run}-${name} ${rest}`),
    );
    expect(keys.filter((key) => key.startsWith(run))).toEqual(expected);
    expect(new Set(keys).size).toBe(keys.length);
  });
});
