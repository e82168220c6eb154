import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { setTimeout as wait } from 'node:timers/promises';
import { Client } from 'pg';
import { clientOf } from '../../demo/clients.ts';
import type { MeterdProcess } from '../../demo/meterd-process.ts';
import { CustomerService } from '../../gen/billing/v1/customers_pb.ts';
import { InvoiceService } from '../../gen/billing/v1/invoices_pb.ts';
import { PlanService } from '../../gen/billing/v1/plans_pb.ts';
import { messageOf } from '../../src/lib/failure.ts';
import { retry } from '../../src/lib/retry.ts';
import { untilDrained } from '../check-stored.ts';
import { SendClient } from '../client.ts';
import { Fleet } from '../fleet.ts';
import { type Context, type Finding, NONE, type Row } from '../row.ts';
import { runJob } from '../run-job.ts';
import type { Site } from '../site.ts';

const CUSTOMERS = 20;
const BATCHES = 3;
const PLAN = 'chaos';
const VALID_FROM_MS = Date.UTC(2020, 0, 1);
const RATES = { cpuPerCoreHour: 0.05, memoryPerGbHour: 0.02, diskIoPerGb: 0.01, networkPerGb: 0.01 };
const ASK_AGAIN = { attemptsMax: 10, delayMs: 100, delayMsMax: 1000 };
/** A run that is cut short is asked for again, as the schedule would. */
const CLOSE_AGAIN = { attemptsMax: 600, delayMs: 100, delayMsMax: 100 };
/** Of so many of a hundred writes of invoices and postings the transaction fails as if another had come between. */
const SERIALIZATION_PERCENT = 3;
const LOOK_MS = 20;

export const postgres: Row = {
  name: 'postgres',
  promise:
    'PostgreSQL killed and started again under the invoice job, and transactions that fail to serialize: one invoice for each customer, proved, debits equal credits.',
  trials: { full: 100, quick: 5 },
  tools: [],
  async run(context: Context): Promise<Finding> {
    const { seed, random, trials } = context;
    const site = await context.ownSite();
    const meterd = await site.start({ METERD_INVOICE_GRACE_HOURS: '0' });
    const plans = clientOf(PlanService, meterd.url, meterd.adminKey);
    await plans.publishPlan({ planId: PLAN, currency: 'USD', rates: RATES, validFrom: timestampFromMs(VALID_FROM_MS) });
    const client = new SendClient(meterd.url, await site.collectorKey(meterd));
    const counts = {
      kills: 0,
      customers: 0,
      notProved: 0,
      acksWhileAway: 0,
      runsFailed: 0,
      failedWrites: 0,
      askedAgain: 0,
    };
    for (; counts.kills < trials; counts.kills++) {
      const fleet = new Fleet({ name: `pg${counts.kills}`, seed, windowsPerBatch: CUSTOMERS, customers: CUSTOMERS });
      for (let batch = 0; batch < BATCHES; batch++) {
        const answer = await client.send(fleet.request(batch));
        if (answer.kind !== 'acknowledged') throw new Error(`batch ${batch} is ${JSON.stringify(answer)}`);
      }
      await subscribe(meterd, fleet);
      await untilDrained(meterd);
      const onFailed = (reason: unknown): void => {
        counts.runsFailed++;
        if (counts.runsFailed % 100 === 0) context.note(`${counts.runsFailed} runs have failed: ${messageOf(reason)}`);
      };
      const ended = new AbortController();
      const closing = close(meterd, periodOf(fleet), onFailed).finally(() => ended.abort());
      await wait(random.between(0, 400));
      await site.engines.killPostgres();
      if ((await client.send(fleet.request(BATCHES))).kind === 'acknowledged') counts.acksWhileAway++;
      await site.engines.startPostgres();
      await failToSerialize(site, true);
      await wait(random.between(0, 400));
      // Where the run is late, none has failed yet.
      while (!ended.signal.aborted && (await countFailedWrites(site)) === counts.failedWrites) await wait(LOOK_MS);
      await failToSerialize(site, false);
      counts.failedWrites = await countFailedWrites(site);
      await closing;
      counts.customers += CUSTOMERS;
      // The batch that came while PostgreSQL was away may touch hours after the last rollup, and a proof waits for that.
      await untilDrained(meterd);
      await runJob(meterd, 'rollup');
      counts.notProved += await countUnproved(meterd, fleet, () => counts.askedAgain++);
      context.note(`${counts.kills + 1} kills`);
    }
    client.close();
    const books = await readBooks(site);
    return {
      observed: { ...counts, ...books, missing: Math.abs(counts.customers - books.invoices) },
      limit: {
        kills: { atLeast: trials },
        runsFailed: { atLeast: 1 },
        failedWrites: { atLeast: 1 },
        acksWhileAway: { atLeast: trials },
        notProved: NONE,
        missing: NONE,
        unbalanced: NONE,
        twice: NONE,
        numbersMissing: NONE,
      },
      wrong: [],
    };
  },
};

function periodOf(fleet: Fleet): string {
  return new Date(fleet.firstMs).toISOString().slice(0, 7);
}

async function subscribe({ url, adminKey }: MeterdProcess, fleet: Fleet): Promise<void> {
  const customers = clientOf(CustomerService, url, adminKey);
  const plans = clientOf(PlanService, url, adminKey);
  for (const customerId of fleet.customerIds) {
    await customers.createCustomer({ customerId, name: customerId, currency: 'USD' });
    await plans.subscribe({ customerId, planId: PLAN, startsAt: timestampFromMs(fleet.firstMs) });
  }
}

/** Asks for the run until one ends well: each that PostgreSQL took away has failed. */
async function close(meterd: MeterdProcess, period: string, onFailed: (reason: unknown) => void): Promise<void> {
  const run = async (): Promise<void> => {
    await runJob(meterd, 'rollup');
    await runJob(meterd, 'invoices', period);
  };
  await retry(run, {
    ...CLOSE_AGAIN,
    onRetry: onFailed,
  });
}

/**
 * Invoices of this fleet's customers that raw windows do not prove, or that are not there. An answer that meterd is to be asked again
 * is none: connections that the kill has broken are found out one by one.
 */
async function countUnproved({ url, adminKey }: MeterdProcess, fleet: Fleet, onAgain: () => void): Promise<number> {
  const service = clientOf(InvoiceService, url, adminKey);
  let unproved = 0;
  for (const customerId of fleet.customerIds) {
    const prove = async (): Promise<boolean> => {
      const { invoices } = await service.listInvoices({ customerId });
      const [invoice] = invoices.filter(({ number }) => number !== '');
      return invoice !== undefined && (await service.verifyInvoice({ invoiceId: invoice.invoiceId })).proved;
    };
    const retryable = (reason: unknown): boolean => reason instanceof ConnectError && reason.code === Code.Unavailable;
    if (!(await retry(prove, { ...ASK_AGAIN, retryable, onRetry: onAgain }))) unproved++;
  }
  return unproved;
}

/** Makes writes of invoices and postings fail by chance with SQLSTATE 40001, or no longer. */
async function failToSerialize(site: Site, fails: boolean): Promise<void> {
  const tables = ['invoices', 'ledger_postings', 'audit_records'];
  await asSuperuser(site, async (db) => {
    // A sequence alone remembers what a transaction did that then failed.
    await db.query('CREATE SEQUENCE IF NOT EXISTS chaos_failed_writes');
    await db.query(
      `CREATE OR REPLACE FUNCTION chaos_fail() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         IF random() * 100 < ${SERIALIZATION_PERCENT} THEN
           PERFORM nextval('chaos_failed_writes');
           RAISE EXCEPTION 'could not serialize access' USING ERRCODE = 'serialization_failure';
         END IF;
         RETURN NULL;
       END $$`,
    );
    for (const table of tables) {
      await db.query(`DROP TRIGGER IF EXISTS chaos_fail ON ${table}`);
      if (!fails) continue;
      await db.query(
        `CREATE TRIGGER chaos_fail AFTER INSERT OR UPDATE ON ${table} FOR EACH ROW EXECUTE FUNCTION chaos_fail()`,
      );
    }
  });
}

function countFailedWrites(site: Site): Promise<number> {
  const query = 'SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS count FROM chaos_failed_writes';
  return asSuperuser(site, (db) => countBy(db, query));
}

interface Books {
  readonly invoices: number;
  /** Customers and periods with more than one invoice. */
  readonly twice: number;
  /** Ledger transactions whose debits are not equal to their credits. */
  readonly unbalanced: number;
  /** Numbers of invoices that were left out or given twice. */
  readonly numbersMissing: number;
}

/** The oracle's own queries. */
async function readBooks(site: Site): Promise<Books> {
  return asSuperuser(site, async (db) => ({
    invoices: await countBy(db, `SELECT count(*) FROM invoices WHERE state = 'final'`),
    twice: await countBy(
      db,
      `SELECT count(*) FROM (SELECT 1 FROM invoices GROUP BY customer_id, period_start HAVING count(*) > 1) AS twice`,
    ),
    unbalanced: await countBy(
      db,
      `SELECT count(*) FROM (
         SELECT 1 FROM ledger_postings GROUP BY transaction_id, currency HAVING sum(amount) <> 0) AS unbalanced`,
    ),
    numbersMissing: await countBy(
      db,
      `SELECT coalesce(max(right(number, 6)::bigint), 0) + count(*) - 2 * count(DISTINCT number) AS count FROM invoices
       WHERE number IS NOT NULL`,
    ),
  }));
}

/** @param query has one row, with one column `count` */
async function countBy(db: Client, query: string): Promise<number> {
  const { rows } = await db.query<{ count: string }>(query);
  return Number(rows[0]?.count);
}

async function asSuperuser<T>(site: Site, work: (db: Client) => Promise<T>): Promise<T> {
  const db = new Client({ connectionString: site.databaseUrl });
  await db.connect();
  try {
    return await work(db);
  } finally {
    await db.end();
  }
}
