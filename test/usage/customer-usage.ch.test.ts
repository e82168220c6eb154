import { randomUUID } from 'node:crypto';
import { assert, asyncProperty, constantFrom, record, subarray } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { customerUsage, type CustomerUsageRequest, type UsageGroup } from '../../src/usage/customer-usage.ts';
import { rollUp } from '../../src/usage/rollup.ts';
import { quantitiesOf } from '../../src/usage/window.ts';
import { clickHouseForTest } from '../database.ts';
import { anyReports } from './arbitrary.ts';
import { modelHours } from './model.ts';
import { BASE, HOUR, MINUTE, type Report, report, store } from './stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();
// Copies and old versions stay as they were stored: no answer may lean on merges.
await client.command({ query: 'SYSTEM STOP MERGES windows' });
await client.command({ query: 'SYSTEM STOP MERGES usage_hours' });
const DAY = 24n * HOUR;

function ask(customerId: string, changes: Partial<CustomerUsageRequest> = {}) {
  const request: CustomerUsageRequest = {
    customerId,
    startNanos: BASE,
    endNanos: BASE + DAY,
    groupBy: [],
    regions: [],
    vmIds: [],
    pageSize: 0,
    pageToken: '',
    ...changes,
  };
  return customerUsage(client, request, signal);
}

function run(clock: Clock = systemClock) {
  return rollUp({ clickhouse: client, clock, signal });
}

function minutes(customerId: string, from: number, until: number, changes: Partial<Report> = {}): Report[] {
  return Array.from({ length: until - from }, (_, index) => report(customerId, from + index, changes));
}

function shown(groups: readonly UsageGroup[]): string[] {
  return groups.map(({ startNanos, endNanos, region, vmId, quantities }) => {
    const hours = `${(startNanos - BASE) / HOUR}-${(endNanos - BASE) / HOUR}`;
    return [hours, region, vmId, quantities.windows].filter((part) => part !== '').join(' ');
  });
}

describe('customerUsage', () => {
  it('gives the worked example in small: two regions, three VMs, one that starts later', async () => {
    const customerId = randomUUID();
    const month = { startNanos: BASE, endNanos: BASE + 2n * DAY };
    const values = { cpuTimeNanos: MINUTE, memoryByteSeconds: 240_000_000_000n, diskReadBytes: 1_000_000n };
    await store(client, [
      ...minutes(customerId, 0, 2880, { ...values, vmId: 'vm-1', region: 'a' }),
      ...minutes(customerId, 0, 2880, { ...values, vmId: 'vm-2', region: 'a' }),
      ...minutes(customerId, 1440, 2880, { ...values, vmId: 'vm-3', region: 'b' }),
    ]);
    const before = await ask(customerId, { ...month, groupBy: ['region', 'vm', 'day'] });
    await run();
    const usage = await ask(customerId, { ...month, groupBy: ['region', 'vm', 'day'] });
    expect(usage).toEqual(before);
    expect(shown(usage.groups)).toEqual([
      '0-24 a vm-1 1440',
      '0-24 a vm-2 1440',
      '24-48 a vm-1 1440',
      '24-48 a vm-2 1440',
      '24-48 b vm-3 1440',
    ]);
    expect(usage.total).toMatchObject({ windows: 7200n, observedNanos: 120n * HOUR, cpuTimeNanos: 120n * HOUR });
    expect(usage.total.memoryByteSeconds).toBe(480n * 3_600_000_000_000n);
    expect(usage.completeness).toEqual({
      observedNanos: 120n * HOUR,
      expectedNanos: 120n * HOUR,
      ratio: '1',
      gaps: 0n,
      gapNanos: 0n,
      conflicts: 0n,
    });
    const byRegion = await ask(customerId, { ...month, groupBy: ['region'] });
    expect(shown(byRegion.groups)).toEqual(['0-48 a 5760', '0-48 b 1440']);
  });

  it('adds up to the model, and does not change when hours are rolled up', async () => {
    const dimensions = subarray(['region', 'vm'] as const);
    const times = constantFrom<('hour' | 'day')[]>([], ['hour'], ['day']);
    await assert(
      asyncProperty(record({ reports: anyReports, dimensions, times }), async (given) => {
        const customerId = randomUUID();
        const reports = given.reports.map((each) => ({ ...each, customerId }));
        await store(client, reports);
        const groupBy = [...given.dimensions, ...given.times];
        const raw = await ask(customerId, { groupBy });
        await run();
        const rolledUp = await ask(customerId, { groupBy });
        expect(rolledUp).toEqual(raw);
        const rows = modelHours(reports);
        const first = rows.reduce((least, row) => (row.hour < least ? row.hour : least), BASE + DAY);
        const carried = rows.filter((row) => row.hour > first);
        expect(rolledUp.total).toEqual({
          ...quantitiesOf((field) => rows.reduce((sum, row) => sum + row[field], 0n)),
          observedNanos: rows.reduce((sum, row) => sum + row.observed, 0n),
          windows:
            rows.reduce((sum, row) => sum + row.windows, 0n) -
            carried.reduce((sum, row) => sum + row.windowsCarried, 0n),
        });
        expect(rolledUp.total).toMatchObject(
          quantitiesOf((field) => rolledUp.groups.reduce((sum, group) => sum + group.quantities[field], 0n)),
        );
      }),
      { numRuns: 8 },
    );
  });

  it('groups by months of UTC, those that the range holds in part as far as it does', async () => {
    const customerId = randomUUID();
    // From the last two days of February to the first of April, and a window over the edge of each month.
    const range = { startNanos: BASE - 2n * DAY, endNanos: BASE + 32n * DAY };
    const over = (edge: bigint) => ({ startNanos: edge - MINUTE, endNanos: edge + MINUTE });
    await store(client, [
      report(customerId, 0, over(BASE)),
      report(customerId, 10, { region: 'us' }),
      report(customerId, 0, over(BASE + 31n * DAY)),
    ]);
    const expected = ['-48-0 eu 1', '0-744 eu 2', '0-744 us 1', '744-768 eu 1'];
    expect(shown((await ask(customerId, { ...range, groupBy: ['month', 'region'] })).groups)).toEqual(expected);
    await run();
    expect(shown((await ask(customerId, { ...range, groupBy: ['month', 'region'] })).groups)).toEqual(expected);
    const { groups } = await ask(customerId, { ...range, groupBy: ['month'] });
    expect(groups.map((group) => group.quantities.observedNanos)).toEqual([MINUTE, 3n * MINUTE, MINUTE]);
  });

  it('counts late windows at once, before the rollup', async () => {
    const customerId = randomUUID();
    await store(client, minutes(customerId, 0, 120));
    await run();
    await store(client, [report(customerId, 60, { vmId: 'vm-2' })]);
    for (const work of [async () => undefined, run]) {
      await work();
      const usage = await ask(customerId, { groupBy: ['hour'] });
      expect(shown(usage.groups)).toEqual(['0-1 60', '1-2 61']);
    }
  });

  it('counts a window across an edge once in each group and once in all', async () => {
    const customerId = randomUUID();
    await store(client, [
      report(customerId, 58),
      report(customerId, 59, { endNanos: BASE + 61n * MINUTE }),
      report(customerId, 61),
    ]);
    await run();
    const byHour = await ask(customerId, { groupBy: ['hour'] });
    expect(shown(byHour.groups)).toEqual(['0-1 2', '1-2 2']);
    expect(byHour.total.windows).toBe(3n);
    expect((await ask(customerId, { groupBy: ['day'] })).groups[0]?.quantities.windows).toBe(3n);
    const second = await ask(customerId, { startNanos: BASE + HOUR });
    expect(second.total.windows).toBe(2n);
  });

  it('counts conflicting keys, across an edge too, once', async () => {
    const customerId = randomUUID();
    const across = report(customerId, 59, { endNanos: BASE + 61n * MINUTE });
    await store(client, [
      across,
      { ...across, receipt: 1n, cpuTimeNanos: 99n },
      { ...across, receipt: 2n, cpuTimeNanos: 98n },
    ]);
    for (const work of [async () => undefined, run]) {
      await work();
      const usage = await ask(customerId);
      expect(usage.completeness.conflicts).toBe(1n);
      expect(usage.total.cpuTimeNanos).toBe(1n);
      expect((await ask(customerId, { startNanos: BASE + HOUR })).completeness.conflicts).toBe(1n);
    }
  });

  it('filters by region and by VM', async () => {
    const customerId = randomUUID();
    await store(client, [
      report(customerId, 0),
      report(customerId, 1, { region: 'us' }),
      report(customerId, 2, { vmId: 'vm-2', region: 'us' }),
    ]);
    expect((await ask(customerId, { regions: ['us'] })).total.windows).toBe(2n);
    expect((await ask(customerId, { vmIds: ['vm-1'] })).total.windows).toBe(2n);
    expect((await ask(customerId, { vmIds: ['vm-1'], regions: ['us', 'x'] })).total.windows).toBe(1n);
    await run();
    expect((await ask(customerId, { vmIds: ['vm-1'], regions: ['us', 'x'] })).total.windows).toBe(1n);
  });

  it('knows nothing of other customers', async () => {
    await store(client, [report(randomUUID(), 0)]);
    const usage = await ask(randomUUID());
    expect(usage.total.windows).toBe(0n);
    expect(usage.completeness).toMatchObject({ ratio: '1', expectedNanos: 0n });
    expect(usage.nextPageToken).toBe('');
  });
});

describe('gaps', () => {
  it('are found inside an hour, over its edge and over hours without windows', async () => {
    const customerId = randomUUID();
    const kept = [0, 10, 58, 63, 64, 65, 250];
    await store(
      client,
      kept.map((minute) => report(customerId, minute)),
    );
    const expected = [
      [1, 10],
      [11, 58],
      [59, 63],
      [66, 250],
    ].map(([from, until]) => ({
      vmId: 'vm-1',
      startNanos: BASE + BigInt(from ?? 0) * MINUTE,
      endNanos: BASE + BigInt(until ?? 0) * MINUTE,
    }));
    for (const work of [async () => undefined, run]) {
      await work();
      const usage = await ask(customerId);
      expect(usage.gaps).toEqual(expected);
      expect(usage.completeness).toEqual({
        observedNanos: 7n * MINUTE,
        expectedNanos: 251n * MINUTE,
        ratio: '0.027888',
        gaps: 4n,
        gapNanos: 244n * MINUTE,
        conflicts: 0n,
      });
    }
  });

  it('of exactly two minutes over an edge are none, but the time is missing', async () => {
    const customerId = randomUUID();
    await store(client, [report(customerId, 58), report(customerId, 61)]);
    const usage = await ask(customerId);
    expect(usage.gaps).toEqual([]);
    expect(usage.completeness).toMatchObject({ expectedNanos: 4n * MINUTE, ratio: '0.500000', gaps: 0n });
  });

  it('are none where a VM went on in another region, whatever region is asked for', async () => {
    const customerId = randomUUID();
    await store(client, [
      ...minutes(customerId, 0, 90),
      ...minutes(customerId, 90, 200, { region: 'us' }),
      ...minutes(customerId, 200, 240),
    ]);
    for (const work of [async () => undefined, run]) {
      await work();
      for (const regions of [[], ['eu'], ['us']]) {
        const usage = await ask(customerId, { regions });
        expect(usage.gaps).toEqual([]);
        expect(usage.completeness.ratio).toBe('1');
      }
      expect((await ask(customerId, { regions: ['us'] })).completeness.expectedNanos).toBe(110n * MINUTE);
    }
  });

  it('belong to the region that reports next', async () => {
    const customerId = randomUUID();
    await store(client, [...minutes(customerId, 0, 10), ...minutes(customerId, 100, 110, { region: 'us' })]);
    const eu = await ask(customerId, { regions: ['eu'] });
    expect(eu.completeness).toMatchObject({ expectedNanos: 10n * MINUTE, gaps: 0n, ratio: '1' });
    const us = await ask(customerId, { regions: ['us'] });
    expect(us.completeness).toMatchObject({ expectedNanos: 100n * MINUTE, gaps: 1n, gapNanos: 90n * MINUTE });
    expect(us.gaps).toEqual([{ vmId: 'vm-1', startNanos: BASE + 10n * MINUTE, endNanos: BASE + 100n * MINUTE }]);
  });

  it('and observed time take overlapping windows once', async () => {
    const customerId = randomUUID();
    await store(client, [
      report(customerId, 0, { endNanos: BASE + 30n * MINUTE }),
      report(customerId, 5),
      report(customerId, 20, { endNanos: BASE + 40n * MINUTE, region: 'us' }),
    ]);
    const usage = await ask(customerId);
    expect(usage.completeness).toMatchObject({ observedNanos: 40n * MINUTE, gaps: 0n });
    expect(usage.total.observedNanos).toBe(40n * MINUTE);
  });
});

describe('pages', () => {
  it('cover every group once, in order, of any size', async () => {
    const customerId = randomUUID();
    const reports = ['vm-1', 'vm-2', 'vm-3'].flatMap((vmId) =>
      [0, 60, 61, 120].flatMap((minute) =>
        ['eu', 'us'].map((region, index) =>
          report(customerId, minute, { vmId, region, endNanos: BASE + BigInt(minute + 1 + index) * MINUTE }),
        ),
      ),
    );
    await store(client, reports);
    await run();
    const groupBy = ['vm', 'region', 'hour'] as const;
    const whole = await ask(customerId, { groupBy });
    expect(whole.groups).toHaveLength(18);
    for (const pageSize of [1, 5, 18]) {
      const pages: UsageGroup[] = [];
      let pageToken = '';
      do {
        const page = await ask(customerId, { groupBy, pageSize, pageToken });
        expect(page.total).toEqual(whole.total);
        expect(page.groups.length).toBeLessThanOrEqual(pageSize);
        pages.push(...page.groups);
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
      expect(pages).toEqual(whole.groups);
    }
  });

  it('refuse a token of another request, and one that is none', async () => {
    const customerId = randomUUID();
    await store(client, [report(customerId, 0), report(customerId, 60)]);
    const { nextPageToken: pageToken } = await ask(customerId, { groupBy: ['hour'], pageSize: 1 });
    await expect(ask(customerId, { groupBy: ['hour'], pageSize: 2, pageToken })).resolves.toBeDefined();
    for (const wrong of [
      ask(randomUUID(), { groupBy: ['hour'], pageToken }),
      ask(customerId, { groupBy: ['day'], pageToken }),
      ask(customerId, { groupBy: ['hour'], regions: ['eu'], pageToken }),
      ask(customerId, { groupBy: ['hour'], pageToken: 'x' }),
      ask(customerId, { groupBy: ['hour'], pageToken: Buffer.from('[1]').toString('base64url') }),
    ]) {
      await expect(wrong).rejects.toMatchObject({ name: 'CallerFault', field: 'page_token' });
    }
  });
});

describe('bounds', () => {
  it.each<[string, Partial<CustomerUsageRequest>]>([
    ['start', { startNanos: BASE + 1n }],
    ['end', { endNanos: BASE + HOUR + 1n }],
    ['end', { endNanos: BASE }],
    ['end', { endNanos: BASE + 401n * DAY }],
    ['end', { endNanos: 2n ** 32n * 1_000_000_000n + 100n * HOUR - ((2n ** 32n * 1_000_000_000n) % HOUR) }],
    ['group_by', { groupBy: ['hour', 'day'] }],
    ['group_by', { groupBy: ['month', 'day'] }],
    ['group_by', { groupBy: ['vm', 'vm'] }],
    ['page_size', { pageSize: 10_001 }],
    ['regions', { regions: Array.from({ length: 1_001 }, () => 'eu') }],
    ['vm_ids', { vmIds: Array.from({ length: 1_001 }, () => 'vm') }],
  ])('name the field: %s', async (field, changes) => {
    await expect(ask('acme', changes)).rejects.toMatchObject({ name: 'CallerFault', field });
  });

  it('take 400 days, and end with the signal', async () => {
    await expect(ask('acme', { endNanos: BASE + 400n * DAY })).resolves.toBeDefined();
    const ended = AbortSignal.abort(new Error('gone'));
    const range = { startNanos: BASE, endNanos: BASE + HOUR };
    const request = { customerId: 'acme', ...range, groupBy: [], regions: [], vmIds: [], pageSize: 0, pageToken: '' };
    await expect(customerUsage(client, request, ended)).rejects.toThrow('gone');
  });
});
