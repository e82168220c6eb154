import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { boolean, integer, sample, tuple } from 'fast-check';
import { sql } from 'kysely';
import { expect, it, onTestFinished } from 'vitest';
import { listAudit } from '../../src/audit/trail.ts';
import { verifyAudit } from '../../src/audit/verify-audit.ts';
import { openPeriods } from '../../src/billing/invoice/open-periods.ts';
import { publishPlan } from '../../src/billing/plans/publish-plan.ts';
import { putTaxRate } from '../../src/billing/rates/tax-rates.ts';
import { clickHouseForTest, postgresForTest } from '../database.ts';
import { ACTOR, RATES } from './a-store.ts';
import type { ClosingProcess } from './closing-process.ts';

const clickhouse = await clickHouseForTest();
const postgres = await postgresForTest();

const PROCESS = fileURLToPath(new URL('closing-process.ts', import.meta.url));
const PROCESSES = 8;
/** Each is killed so often and started again, and then let be. */
const KILLS_EACH = 5;
/** From asking what is due to the commit of a page and some way into the next one. */
const STATEMENTS_MAX = 60;
/** Two processes share one: one of both closes at a time. Four close at once, as where a lock's connection broke. */
const LOCKS = 4;
const FIRST_MONTH = 1;
const LAST_MONTH = 9;
/** Some have been here since the first month; all others came with the last, which takes more than one page of customers. */
const OLD_CUSTOMERS = 50;
const CUSTOMERS = 600;
const NOW_MS = Date.UTC(2025, LAST_MONTH, 3);

interface CustomerMonth {
  readonly customerId: string;
  readonly startMs: number;
  readonly cpuTimeNanos: bigint;
  readonly memoryByteSeconds: bigint;
  readonly isTaxed: boolean;
}

function customerMonths(seed: number): CustomerMonth[] {
  const months = Array.from({ length: LAST_MONTH - FIRST_MONTH + 1 }, (_, i) => FIRST_MONTH + i);
  const wanted = months.flatMap((month) => {
    const customers = month === LAST_MONTH ? CUSTOMERS : OLD_CUSTOMERS;
    return Array.from({ length: customers }, (_, index) => ({ month, index }));
  });
  const used = sample(tuple(integer({ min: 1 }), integer({ min: 0 })), { seed, numRuns: wanted.length });
  return wanted.map(({ month, index }, i) => {
    const [cpu, memory] = used[i] ?? [1, 0];
    return {
      customerId: `customer-${String(index).padStart(3, '0')}`,
      startMs: Date.UTC(2025, month - 1),
      cpuTimeNanos: BigInt(cpu) * 123_457n,
      memoryByteSeconds: BigInt(memory) * 1_234_577n,
      isTaxed: index % 2 === 0,
    };
  });
}

async function fill(months: readonly CustomerMonth[]): Promise<void> {
  const { db, pool } = postgres;
  const store = { db, clock: { nowMs: () => NOW_MS, nowNanos: () => BigInt(NOW_MS) * 1_000_000n } };
  const validFrom = new Date(Date.UTC(2025, FIRST_MONTH - 1));
  await publishPlan(store, { planId: 'basic', currency: 'USD', rates: RATES, validFrom }, ACTOR);
  await putTaxRate(store, { region: 'DE', name: 'VAT', percent: '19', validFrom }, ACTOR);
  const firsts = [...Map.groupBy(months, ({ customerId }) => customerId).values()].flatMap((own) => own.slice(0, 1));
  const rows = JSON.stringify(
    firsts.map(({ customerId, startMs, isTaxed }) => {
      return { id: customerId, region: isTaxed ? 'DE' : '', starts_at: new Date(startMs) };
    }),
  );
  const given = `json_to_recordset($1::json) AS given (id text, region text, starts_at timestamptz)`;
  await pool.query(
    `INSERT INTO customers (id, name, currency, tax_region, created_at)
     SELECT id, id, 'USD', region, now() FROM ${given}`,
    [rows],
  );
  await pool.query(
    `INSERT INTO subscriptions (customer_id, starts_at, plan_id, created_at)
     SELECT id, starts_at, 'basic', now() FROM ${given}`,
    [rows],
  );
  const hours = months.map(({ customerId, startMs, cpuTimeNanos, memoryByteSeconds }) => ({
    customer_id: customerId,
    hour: startMs / 1000 + 3600,
    region: 'eu',
    vm_id: 'vm',
    cpu_time_nanos: cpuTimeNanos.toString(),
    memory_byte_seconds: memoryByteSeconds.toString(),
    observed_nanos: '3600000000000',
    windows: 60,
    first_start: startMs / 1000 + 3600,
    last_end: startMs / 1000 + 7200,
    version: 1,
    is_deleted: 0,
  }));
  await clickhouse.client.insert({ table: 'usage_hours', values: hours, format: 'JSONEachRow' });
}

/** Runs it until it has nothing left to do, killed by itself and started again. @returns how often it was killed */
async function runAndKill(index: number, deaths: readonly (readonly [number, boolean])[]): Promise<number> {
  const engines = { clickHouseUrl: clickhouse.url, postgresUrl: postgres.url, nowMs: NOW_MS };
  const common = { ...engines, lock: String(index % LOCKS) };
  const lives = [...deaths.map(([dieAt, isSent]) => ({ ...common, dieAt, isSent })), common];
  let kills = 0;
  for (const life of lives) {
    if (!(await wasKilled(life))) return kills;
    kills++;
  }
  throw new Error(`process ${index} was killed in the life that it was let be in`);
}

/** @throws Error where it failed */
async function wasKilled(life: ClosingProcess): Promise<boolean> {
  const child = spawn(process.execPath, [PROCESS, JSON.stringify(life)], { stdio: ['ignore', 'ignore', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let said = '';
  child.stderr.on('data', (text: Buffer) => void (said += text.toString()));
  const [code, signal] = await once(child, 'close');
  if (signal === 'SIGKILL') return true;
  if (code !== 0) throw new Error(`a closing process ended with ${code}: ${said}`);
  return false;
}

/** By arithmetic of its own: each line to the cent, half to even, then 19 % of their sum. */
function totalCents({ cpuTimeNanos, memoryByteSeconds, isTaxed }: CustomerMonth): bigint {
  const hour = 3_600_000_000_000n;
  const net = halfEven(cpuTimeNanos * 5n, hour) + halfEven(memoryByteSeconds * 2n, hour);
  return net + (isTaxed ? halfEven(net * 19n, 100n) : 0n);
}

function halfEven(dividend: bigint, divisor: bigint): bigint {
  const whole = dividend / divisor;
  const twiceRest = (dividend % divisor) * 2n;
  return twiceRest > divisor || (twiceRest === divisor && whole % 2n === 1n) ? whole + 1n : whole;
}

function textOf(cents: bigint): string {
  return `${cents / 100n}.${String(cents % 100n).padStart(2, '0')}`;
}

async function check(months: readonly CustomerMonth[]): Promise<void> {
  const { db } = postgres;
  const invoices = await db
    .selectFrom('invoices')
    .select(['customer_id', 'period_start', 'state', 'number', 'total'])
    .orderBy('number')
    .execute();
  const keyOf = (customerId: string, startMs: number): string => `${customerId} ${startMs}`;
  const totals = new Map(invoices.map((row) => [keyOf(row.customer_id, row.period_start.getTime()), row.total]));
  expect(invoices).toHaveLength(months.length);
  expect(totals).toEqual(
    new Map(months.map((month) => [keyOf(month.customerId, month.startMs), textOf(totalCents(month))])),
  );
  expect(invoices.filter(({ state }) => state !== 'final' && state !== 'paid')).toEqual([]);
  expect(invoices.map(({ number }) => number)).toEqual(months.map((_, i) => `INV-${String(i + 1).padStart(6, '0')}`));
  const billed = textOf(months.reduce((sum, month) => sum + totalCents(month), 0n));
  const { rows } = await sql<{ balance: string; receivable: string; transactions: string }>`
    SELECT sum(amount)::text AS balance, sum(amount) FILTER (WHERE account_id LIKE 'receivable:%')::text AS receivable,
      count(DISTINCT transaction_id)::text AS transactions FROM ledger_postings`.execute(db);
  expect(rows).toEqual([{ balance: '0.00', receivable: billed, transactions: String(months.length) }]);
  const { rows: periods } = await sql<{ settled: boolean; failures: number; count: string }>`
    SELECT settled, failures, count(*) AS count FROM billing_periods GROUP BY settled, failures`.execute(db);
  expect(periods).toEqual([{ settled: true, failures: 0, count: String(months.length) }]);
  expect(await verifyAudit(db)).toMatchObject({ intact: true });
  const finalized = await listAudit(db, { actionPrefix: 'invoice.finalized' }, months.length + 1);
  expect(new Set(finalized.map(({ subject }) => subject)).size).toBe(finalized.length);
  expect(finalized).toHaveLength(months.length);
}

it('a thousand months, closed by eight processes that are killed at any statement, are each billed once', async () => {
  const seed = Number(process.env['THOUSAND_MONTHS_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`thousand months: THOUSAND_MONTHS_SEED=${seed}`);
  const months = customerMonths(seed);
  expect(months).toHaveLength(1000);
  await fill(months);
  const deaths = sample(tuple(integer({ min: 1, max: STATEMENTS_MAX }), boolean()), {
    seed,
    numRuns: PROCESSES * KILLS_EACH,
  });
  const running = Array.from({ length: PROCESSES }, (_, index) => {
    return runAndKill(index, deaths.slice(index * KILLS_EACH, (index + 1) * KILLS_EACH));
  });
  const kills = (await Promise.all(running)).reduce((sum, each) => sum + each, 0);
  console.log(`thousand months: ${kills} kills`);
  expect(await openPeriods({ db: postgres.db, clock: { nowMs: () => NOW_MS, nowNanos: () => 0n } })).toEqual([]);
  await check(months);
}, 300_000);
