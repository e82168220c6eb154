import { randomUUID } from 'node:crypto';
import { array, assert, asyncProperty, bigInt, constantFrom, oneof, record } from 'fast-check';
import { expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { customerUsage } from '../../src/usage/customer-usage.ts';
import { rollUp } from '../../src/usage/rollup.ts';
import { clickHouseForTest } from '../database.ts';
import { type Notice, storeNotices, touchAround } from './readings.ts';
import { BASE, HOUR, MINUTE, type Report, report, store } from './stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();
const HOURS = 6n;

/** What a VM does, one after the other. */
const life = array(
  record({
    pause: oneof(constantFrom(0n, 2n * MINUTE, 2n * MINUTE + 1n, HOUR), bigInt({ min: 1n, max: 90n * MINUTE })),
    what: constantFrom(
      'reports',
      'reports',
      'reports',
      'started',
      'stopped',
      'stopped by a host that names no customer',
    ),
    length: constantFrom(MINUTE, 20n * MINUTE, 1n),
  }),
  { minLength: 1, maxLength: 10 },
);

interface Mark {
  readonly kind: 'stopped' | 'started' | 'window';
  readonly startNanos: bigint;
  readonly endNanos: bigint;
}

/** The time that is expected, and the gaps in it, mark by mark. */
function modelTime(reports: readonly Report[], notices: readonly Notice[]) {
  const marks = [
    ...reports.map(({ startNanos, endNanos }): Mark => ({ kind: 'window', startNanos, endNanos })),
    ...notices.map(({ kind, atNanos }): Mark => {
      return { kind: kind === 'started' ? 'started' : 'stopped', startNanos: atNanos, endNanos: atNanos };
    }),
  ].toSorted((a, b) => Number(a.startNanos - b.startNanos) || RANKS.indexOf(a.kind) - RANKS.indexOf(b.kind));
  let [expected, coveredUntil] = [0n, marks[0]?.startNanos ?? 0n];
  let before: Mark['kind'] | undefined;
  const gaps: (readonly [bigint, bigint])[] = [];
  for (const { kind, startNanos, endNanos } of marks) {
    if (startNanos > coveredUntil && before !== 'stopped' && kind !== 'started') {
      expected += startNanos - coveredUntil;
      if (startNanos - coveredUntil > 2n * MINUTE) gaps.push([coveredUntil, startNanos]);
    }
    const uncovered = endNanos - (startNanos > coveredUntil ? startNanos : coveredUntil);
    if (uncovered > 0n) expected += uncovered;
    if (endNanos > coveredUntil) coveredUntil = endNanos;
    before = kind;
  }
  return { expected, gaps };
}

function usageOf(customerId: string) {
  const request = { customerId, startNanos: BASE, endNanos: BASE + HOURS * HOUR, groupBy: [] };
  const filters = { regions: [], vmIds: [], pageSize: 0, pageToken: '' };
  return customerUsage(client, { ...request, ...filters }, signal);
}

const isNamed = ({ customerId }: Notice): boolean => customerId !== '';

const RANKS = ['stopped', 'started', 'window'];

it('is what a walk along all windows and notices finds, before and after the rollup', async () => {
  await assert(
    asyncProperty(life, async (steps) => {
      const customerId = randomUUID();
      const vmId = `vm-${customerId}`;
      const [reports, notices]: [Report[], Notice[]] = [[], []];
      let at = BASE + 7n;
      for (const { pause, what, length } of steps) {
        at += pause;
        if (at + length >= BASE + HOURS * HOUR) break;
        if (what === 'reports') {
          reports.push(report(customerId, 0, { vmId, startNanos: at, endNanos: at + length }));
          at += length;
        } else {
          const kind = what === 'started' ? 'started' : 'stopped';
          const says = what === 'started' || what === 'stopped';
          notices.push({ vmId, kind, atNanos: at, customerId: says ? customerId : '' });
        }
      }
      // Whose a VM is that a notice does not say, is known by the hours before it and its own.
      const told = [
        ...reports.map(({ startNanos }) => startNanos),
        ...notices.filter(isNamed).map(({ atNanos }) => atNanos),
      ];
      const known = notices.filter((one) => isNamed(one) || told.some((from) => from - (from % HOUR) <= one.atNanos));
      if (reports.length > 0) await store(client, reports);
      if (notices.length > 0) {
        await storeNotices(client, notices.toReversed());
        await storeNotices(client, notices.slice(0, 1));
        const instants = notices.map((notice) => notice.atNanos);
        await touchAround(client, customerId, instants);
        await touchAround(client, '', instants);
      }
      const model = modelTime(reports, known);
      const seen = async () => {
        const { completeness, gaps } = await usageOf(customerId);
        return { expected: completeness.expectedNanos, gaps: gaps.map((gap) => [gap.startNanos, gap.endNanos]) };
      };
      expect(await seen()).toEqual(model);
      await rollUp({ clickhouse: client, clock: systemClock, signal });
      expect(await seen()).toEqual(model);
    }),
    { numRuns: 8 },
  );
});

it('ends with a stop that names no customer, of a VM that so far only a notice told the customer of', async () => {
  const customerId = randomUUID();
  const vmId = `vm-${customerId}`;
  const notices: Notice[] = [
    { vmId, kind: 'started', atNanos: BASE + MINUTE, customerId },
    { vmId, kind: 'stopped', atNanos: BASE + 11n * MINUTE, customerId: '' },
  ];
  await store(client, [report(customerId, 61, { vmId })]);
  await storeNotices(client, notices);
  const instants = notices.map((notice) => notice.atNanos);
  await touchAround(client, customerId, instants);
  await touchAround(client, '', instants);
  const expected = async () => (await usageOf(customerId)).completeness.expectedNanos;
  expect(await expected()).toBe(11n * MINUTE);
  await rollUp({ clickhouse: client, clock: systemClock, signal });
  expect(await expected()).toBe(11n * MINUTE);
});
