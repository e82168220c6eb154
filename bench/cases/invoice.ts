/**
 * How long does closing a month take, how much memory, and is every invoice right?
 *
 * Each customer has ten VMs that run all month. Their hours are filled in by ClickHouse itself, customers and
 * subscriptions by Postgres; then meterd closes the month as an operator would have it do: some customers one by one,
 * then all that are left. Every total is recomputed here, from sums of its own and with arithmetic of its own.
 *
 * Not measured: filling in and rolling up; several prices in one month; several regions.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import { clientOf } from '../../demo/clients.ts';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { InvoiceService } from '../../gen/billing/v1/invoices_pb.ts';
import { JobOutcome, JobService } from '../../gen/billing/v1/jobs_pb.ts';
import { PlanService } from '../../gen/billing/v1/plans_pb.ts';
import { connectPostgres, type Postgres } from '../../src/storage/postgres/client.ts';
import type { Bench, CaseResult, Figure } from '../case.ts';
import { UsageWatch } from '../process-usage.ts';
import { type BenchMeterd, NO_JOBS } from '../world.ts';

const CUSTOMERS = [1_000, 10_000, 30_000];
const CUSTOMERS_BRIEF = [200];
/** Closed one by one before the month is, and not counted in it. */
const CUSTOMERS_ALONE = 20;
const ALONE_MS_MAX = 200;
const VMS_PER_CUSTOMER = 10;
const HOURS_PER_STATEMENT = 5_000_000;
const SETTLED_MS = 2 * 86_400_000;
const WRONG_NAMED_MAX = 10;
const PLAN = 'bench';
const RATES = { cpuPerCoreHour: 0.05, memoryPerGbHour: 0.02, diskIoPerGb: 0.01, networkPerGb: 0.01 };
/** By meter: the columns whose sum it counts, and the price in cents as a fraction of that sum's unit. */
const METERS = [
  { sum: 'cpu_time_nanos', cents: 5n, per: 3_600_000_000_000n },
  { sum: 'memory_byte_seconds', cents: 2n, per: 3_600_000_000_000n },
  { sum: 'disk_read_bytes + disk_write_bytes', cents: 1n, per: 1_000_000_000n },
  { sum: 'network_rx_bytes + network_tx_bytes', cents: 1n, per: 1_000_000_000n },
] as const;

interface Month {
  /** E.g. "2026-10". */
  readonly name: string;
  readonly startMs: number;
  readonly hours: number;
}

interface Closed {
  readonly customers: number;
  readonly seconds: number;
  /** The longest that one customer took which was closed alone. */
  readonly aloneMsMax: number;
  readonly residentBytesMax: number;
  readonly wrong: readonly string[];
}

export async function invoice(bench: Bench): Promise<CaseResult> {
  const sizes = bench.options.customers ?? (bench.options.isBrief ? CUSTOMERS_BRIEF : CUSTOMERS);
  const closed: Closed[] = [];
  for (const customers of sizes) closed.push(await closeMonth(bench, customers));
  const largest = closed.at(-1);
  const runs = closed.map(({ wrong, ...run }) => ({ ...run, exact: wrong.length === 0 }));
  return {
    figures: closed.flatMap(figuresOf),
    json: { ...runs.at(-1), exact: runs.every((run) => run.exact), customers: largest?.customers, runs },
    wrong: closed.flatMap((run) => run.wrong),
  };
}

function figuresOf({ customers, seconds, aloneMsMax, residentBytesMax }: Closed): Figure[] {
  const of = `${customers.toLocaleString('en')} customers`;
  return [
    { what: `month of ${of}`, value: seconds, unit: 's' },
    { what: `invoices, ${of}`, value: customers / seconds, unit: 'invoices/s' },
    { what: `one of ${of} alone, most`, value: aloneMsMax, unit: 'ms', target: { atMost: ALONE_MS_MAX } },
    { what: `meterd resident, ${of}`, value: residentBytesMax / 1024 ** 2, unit: 'MiB' },
  ];
}

async function closeMonth(bench: Bench, customers: number): Promise<Closed> {
  const month = lastSettledMonth(Date.now());
  const world = await bench.world();
  const meterd = await world.startMeterd(NO_JOBS);
  const clickhouse = await world.meterdDatabase();
  const postgres = connectPostgres(world.databaseUrl);
  try {
    bench.note(`invoice: filling in ${customers.toLocaleString('en')} customers …`);
    await fillHours(clickhouse, month, customers + CUSTOMERS_ALONE);
    await fillCustomers(postgres, meterd, month, customers + CUSTOMERS_ALONE);
    const aloneMsMax = await closeAlone(meterd, month);
    bench.note('invoice: closing the month …');
    const watch = new UsageWatch(meterd.pid);
    const startedMs = performance.now();
    const jobs = clientOf(JobService, meterd.url, meterd.adminKey);
    const { run } = await jobs.runJob({ job: 'invoices', period: month.name });
    const seconds = (performance.now() - startedMs) / 1000;
    const { residentBytesMax } = watch.stop();
    if (run?.outcome !== JobOutcome.SUCCEEDED) throw new Error(`the month was not closed: ${run?.detail}`);
    bench.note('invoice: recomputing every total …');
    const wrong = await wrongTotals(clickhouse, postgres, customers + CUSTOMERS_ALONE);
    return { customers, seconds, aloneMsMax, residentBytesMax, wrong };
  } finally {
    await postgres.close();
    await world.close();
  }
}

async function closeAlone(meterd: BenchMeterd, month: Month): Promise<number> {
  const invoices = clientOf(InvoiceService, meterd.url, meterd.adminKey);
  let msMax = 0;
  for (let nth = 1; nth <= CUSTOMERS_ALONE; nth++) {
    const startedMs = performance.now();
    await invoices.closeCustomer({ customerId: customerId(nth), period: month.name });
    msMax = Math.max(msMax, performance.now() - startedMs);
  }
  return msMax;
}

async function fillHours(clickhouse: ClickHouseClient, month: Month, customers: number): Promise<void> {
  const rows = customers * VMS_PER_CUSTOMER * month.hours;
  for (let from = 0; from < rows; from += HOURS_PER_STATEMENT) {
    await clickhouse.command({ query: hoursSql(month, from, Math.min(HOURS_PER_STATEMENT, rows - from)) });
  }
}

/** By customer, hour and VM: the order of the table's key. */
function hoursSql(month: Month, from: number, rows: number): string {
  const perCustomer = VMS_PER_CUSTOMER * month.hours;
  const random = (seed: number, bound: string): string => `cityHash64(number, ${seed}) % ${bound}`;
  return `INSERT INTO usage_hours (customer_id, hour, region, vm_id, cpu_time_nanos, memory_byte_seconds,
      disk_read_bytes, disk_write_bytes, disk_read_ops, disk_write_ops, network_rx_bytes, network_tx_bytes,
      observed_nanos, unobserved_nanos, windows, windows_carried, conflicts, conflicts_carried, first_start, last_end,
      gaps, version, is_deleted)
    WITH ${month.startMs / 1000} + intDiv(number % ${perCustomer}, ${VMS_PER_CUSTOMER}) * 3600 AS second
    SELECT ${customerSql(`intDiv(number, ${perCustomer})`)}, toDateTime(second, 'UTC'), 'us-east1',
      concat('vm-', toString(number % ${VMS_PER_CUSTOMER})), ${random(1, '7200000000000')}, ${random(2, '28800000000000')},
      ${random(3, '900000000')}, ${random(4, '900000000')}, ${random(5, '9000')}, ${random(6, '9000')},
      ${random(7, '900000000')}, ${random(8, '900000000')}, 3600000000000, 0, 60, 0, 0, 0,
      toDateTime64(second, 9, 'UTC'), toDateTime64(second + 3600, 9, 'UTC'), [], 1, 0
    FROM numbers(${from}, ${rows})`;
}

/** They begin with the month: closing it is what is measured, not the months before. */
async function fillCustomers({ pool }: Postgres, meterd: BenchMeterd, month: Month, customers: number): Promise<void> {
  const plans = clientOf(PlanService, meterd.url, meterd.adminKey);
  const validFrom = timestampFromMs(month.startMs);
  await plans.publishPlan({ planId: PLAN, currency: 'USD', rates: RATES, validFrom });
  const ids = `SELECT 'cust-' || lpad(n::text, 7, '0') AS id FROM generate_series(1, ${customers}) AS n`;
  await pool.query(
    `INSERT INTO customers (id, name, currency, created_at) SELECT id, id, 'USD', now() FROM (${ids}) AS i`,
  );
  await pool.query(
    `INSERT INTO subscriptions (customer_id, starts_at, plan_id, created_at)
     SELECT id, $1, $2, now() FROM (${ids}) AS i`,
    [new Date(month.startMs), PLAN],
  );
}

/** Compares every invoice with what it should be; the sums come from ClickHouse by a query of this case's own. */
async function wrongTotals(clickhouse: ClickHouseClient, { pool }: Postgres, customers: number): Promise<string[]> {
  const sums = METERS.map(({ sum }) => `toString(sum(${sum}))`).join(', ');
  const answer = await clickhouse.query({
    query: `SELECT customer_id, [${sums}] AS sums FROM usage_hours GROUP BY customer_id`,
    format: 'JSONEachRow',
  });
  const expected = new Map<string, string>();
  for (const row of await answer.json<{ customer_id: string; sums: string[] }>()) {
    expected.set(row.customer_id, totalOf(row.sums.map(BigInt)));
  }
  const { rows } = await pool.query<{ customer_id: string; total: string }>(
    `SELECT customer_id, total::text AS total FROM invoices WHERE state = 'final'`,
  );
  const wrong = rows.flatMap(({ customer_id: id, total }) =>
    expected.get(id) === total ? [] : [`${id}: the invoice says ${total}, it should be ${expected.get(id)}`],
  );
  if (rows.length !== customers) wrong.unshift(`of ${customers} invoices ${rows.length} are final`);
  return wrong.slice(0, WRONG_NAMED_MAX);
}

/** Each line rounded to the cent, half to even; their sum as a decimal. */
function totalOf(sums: readonly bigint[]): string {
  const cents = METERS.reduce(
    (total, { cents: price, per }, i) => total + roundHalfEven((sums[i] ?? 0n) * price, per),
    0n,
  );
  return `${cents / 100n}.${String(cents % 100n).padStart(2, '0')}`;
}

function roundHalfEven(dividend: bigint, divisor: bigint): bigint {
  const whole = dividend / divisor;
  const twiceRest = (dividend % divisor) * 2n;
  const isUp = twiceRest > divisor || (twiceRest === divisor && whole % 2n === 1n);
  return isUp ? whole + 1n : whole;
}

function customerId(nth: number): string {
  return `cust-${String(nth).padStart(7, '0')}`;
}

/** `customerId` of `index` + 1. */
function customerSql(index: string): string {
  return `concat('cust-', leftPad(toString(${index} + 1), 7, '0'))`;
}

/** The last month whose invoices are past their grace. */
function lastSettledMonth(nowMs: number): Month {
  const now = new Date(nowMs - SETTLED_MS);
  const startMs = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - 1);
  const endMs = Date.UTC(now.getUTCFullYear(), now.getUTCMonth());
  return { name: new Date(startMs).toISOString().slice(0, 7), startMs, hours: (endMs - startMs) / 3_600_000 };
}
