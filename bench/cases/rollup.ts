/**
 * What does the rollup of one hour cost, beside the least that has to be done for it?
 *
 * One hour of many VMs, a window a minute each, is rolled up by the service's own code; the least is a plain
 * `SELECT sum(…) GROUP BY` VM over the same rows, which neither takes keys once nor finds gaps nor writes anything. The
 * totals of the hours must be those of the windows. The hour was rolled up before, so that its stored rows are replaced.
 *
 * Then one minute is stored a second time, as it is where meterd was not told that an insert was done: every VM has a copy of
 * a window, and none is merged away.
 *
 * Not measured: VMs whose windows overlap or leave gaps, which the rollup has a slower way for; hours that are ingested into
 * at the same time.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import { systemClock } from '../../src/lib/clock.ts';
import { rollUp } from '../../src/usage/rollup.ts';
import type { Bench, CaseResult } from '../case.ts';
import { type Filling, fillWindows, merged, touchHours } from '../fill.ts';
import { QUANTITY_COLUMNS } from '../generator/tally.ts';

const WINDOWS = 6_000_000;
const WINDOWS_BRIEF = 3_000_000;
const MINUTES = 60;
const CUSTOMERS = 500;
/** The minute of the hour that is stored twice. */
const COPIED = 7;
const TIMES = 3;
const TIMEOUT_MS = 600_000;

export async function rollup(bench: Bench): Promise<CaseResult> {
  const windows = bench.options.windows ?? (bench.options.isBrief ? WINDOWS_BRIEF : WINDOWS);
  const hour = Math.floor(Date.now() / 3_600_000) * 3600 - 5 * 3600;
  const filling: Filling = {
    vms: Math.ceil(windows / MINUTES),
    customers: CUSTOMERS,
    startSeconds: hour,
    minutes: MINUTES,
  };
  const world = await bench.world();
  const clickhouse = await world.clickhouse('rollup');
  bench.note(`rollup: filling ${windows.toLocaleString('en')} windows …`);
  await fillWindows(clickhouse, filling);
  if (!(await merged(clickhouse))) bench.note('rollup: ClickHouse still merges what it was filled with');
  bench.note('rollup: rolling up …');
  const plain = await bestSeconds(() => plainSums(clickhouse));
  const rollUpAll = async (): Promise<void> =>
    void (await rollUp({ clickhouse, clock: systemClock, signal: AbortSignal.timeout(TIMEOUT_MS) }));
  await touchHours(clickhouse, filling);
  await rollUpAll();
  const rolled = await bestSeconds(rollUpAll, () => touchHours(clickhouse, filling));
  await clickhouse.command({ query: 'SYSTEM STOP MERGES windows' });
  await clickhouse.command({
    query: `INSERT INTO windows SELECT * FROM windows WHERE toMinute(window_start) = ${COPIED}`,
  });
  const withCopies = await bestSeconds(rollUpAll, () => touchHours(clickhouse, filling));
  const wrong = await differing(clickhouse);
  return {
    figures: [
      {
        what: `rollup of an hour of ${windows.toLocaleString('en')}`,
        value: rolled,
        unit: 's',
        against: { what: 'plain sums', value: plain },
        target: { atMost: 3 * plain },
      },
      { what: 'rolled up', value: windows / rolled, unit: 'windows/s' },
      {
        what: 'the same with one minute stored twice',
        value: withCopies,
        unit: 's',
        against: { what: 'plain sums', value: plain },
      },
    ],
    json: {
      windows,
      seconds: rolled,
      withCopiesSeconds: withCopies,
      plainSeconds: plain,
      ratio: rolled / plain,
      exact: wrong.length === 0,
    },
    wrong,
  };
}

/** The fastest of several times, each after `prepare`, which does not count. */
async function bestSeconds(work: () => Promise<void>, prepare?: () => Promise<void>): Promise<number> {
  let bestMs = Number.POSITIVE_INFINITY;
  for (let time = 0; time < TIMES; time++) {
    await prepare?.();
    const startedMs = performance.now();
    await work();
    bestMs = Math.min(bestMs, performance.now() - startedMs);
  }
  return bestMs / 1000;
}

async function plainSums(clickhouse: ClickHouseClient): Promise<void> {
  const sums = QUANTITY_COLUMNS.map((column) => `sum(toUInt128(${column}))`).join(', ');
  const query = `SELECT customer_id, vm_id, ${sums} FROM windows GROUP BY customer_id, vm_id FORMAT Null`;
  await clickhouse.command({ query });
}

async function differing(clickhouse: ClickHouseClient): Promise<string[]> {
  const [stored, rolled] = await Promise.all([
    totals(clickhouse, 'windows AS total FINAL', 'count()'),
    totals(clickhouse, 'usage_hours AS total FINAL', 'sum(windows)'),
  ]);
  return stored === rolled ? [] : [`the windows have ${stored}, the hours ${rolled}`];
}

async function totals(clickhouse: ClickHouseClient, from: string, count: string): Promise<string> {
  const sums = QUANTITY_COLUMNS.map((column) => `sum(toUInt128(total.${column}))`).join(', ');
  const answer = await clickhouse.query({ query: `SELECT ${count}, ${sums} FROM ${from}`, format: 'TabSeparated' });
  return (await answer.text()).trim().replaceAll('\t', ' ');
}
