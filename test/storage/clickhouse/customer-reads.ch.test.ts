import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { billingWindow } from '../../../src/usage/billing-window.ts';
import { customerUsage } from '../../../src/usage/customer-usage.ts';
import { listGaps } from '../../../src/usage/gaps.ts';
import { UsageForBilling } from '../../../src/usage/usage-for-billing.ts';
import { customerReads, SHOWN_TO_CUSTOMERS } from '../../../src/storage/clickhouse/customer-reads.ts';
import { clickHouseForTest } from '../../database.ts';
import { BASE, HOUR, MINUTE, report, store } from '../../usage/stored.ts';

const { client } = await clickHouseForTest();
const signal = new AbortController().signal;
/** Ids that would end the text that they are quoted in. */
const ODD = ["o'dd", `o\\'dd"`, "'} OR 1 --", 'größe'];
const CUSTOMERS = ['acme', 'other', ...ODD];
const acme = customerReads(client, 'acme');

async function rows<T>(query: string, as = client): Promise<T[]> {
  return (await as.query({ query, format: 'JSONEachRow' })).json<T>();
}

/** A row in each table that has a customer, with what else it is made of left at its default. */
async function fill(): Promise<string[]> {
  const tables = await rows<{ of_table: string }>(
    `SELECT table AS of_table FROM system.columns WHERE database = currentDatabase() AND name = 'customer_id' ORDER BY table`,
  );
  for (const { of_table } of tables) {
    // Refused windows are removed by age, and known by an id of their own.
    const values = CUSTOMERS.map((customer_id) => {
      if (of_table !== 'refused_windows') return { customer_id };
      return { customer_id, received_at: new Date().toISOString(), id: randomUUID() };
    });
    await client.insert({ table: of_table, values, format: 'JSONEachRow' });
  }
  return tables.map(({ of_table }) => of_table);
}

describe('ClickHouse, read as a customer', async () => {
  const tables = await fill();

  it('shows of every table with customers the rows of that customer alone', async () => {
    expect(tables.length).toBeGreaterThan(5);
    for (const customerId of CUSTOMERS) {
      const as = customerReads(client, customerId);
      for (const table of tables) {
        for (const from of [table, `(SELECT * FROM ${table})`, `${table} AS x`, 'usage_hours FINAL']) {
          const seen = await rows<{ customer_id: string }>(`SELECT DISTINCT customer_id FROM ${from} WHERE 1 OR 2`, as);
          expect([from, seen]).toEqual([from, [{ customer_id: customerId }]]);
        }
      }
    }
  });

  it('says of every table there is what a customer sees of it', async () => {
    const all = await rows<{ name: string }>(
      'SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name',
    );
    expect(all.map(({ name }) => name)).toEqual(Object.keys(SHOWN_TO_CUSTOMERS).toSorted());
    expect(await rows('SELECT * FROM schema_migrations', acme)).toEqual([]);
  });

  it('takes no writes', () => {
    expect(() => acme.insert({ table: 'windows', values: [], format: 'JSONEachRow' })).toThrow(
      'insert is not for them',
    );
    expect(() => acme.exec({ query: 'SELECT 1' })).toThrow('exec is not for them');
  });
});

describe("what methods read, with somebody else's id and without the code's own check", () => {
  const range = { startNanos: BASE, endNanos: BASE + 24n * HOUR };
  const other = { customerId: 'other', ...range };
  const filled = store(client, [
    ...[0, 1, 30].map((minute) => report('other', minute)),
    ...[0, 1, 30].map((minute) => report('acme', minute)),
  ]);

  it('finds no usage, window or gap of another, and all of its own', async () => {
    await filled;
    const request = { groupBy: ['vm'] as const, regions: [], vmIds: [], pageSize: 0, pageToken: '', ...range };
    const theirs = await customerUsage(acme, { ...request, customerId: 'other' }, signal);
    expect([theirs.groups, theirs.total.windows, theirs.completeness.observedNanos]).toEqual([[], 0n, 0n]);
    expect((await customerUsage(acme, { ...request, customerId: 'acme' }, signal)).total.windows).toBe(3n);
    expect((await customerUsage(client, { ...request, customerId: 'other' }, signal)).total.windows).toBe(3n);

    const window = { vmId: 'vm-1', startNanos: BASE, endNanos: BASE + MINUTE };
    await expect(billingWindow(acme, { ...window, customerId: 'other' }, signal)).rejects.toMatchObject({
      kind: 'not_found',
    });
    expect((await billingWindow(acme, { ...window, customerId: 'acme' }, signal)).report.customerId).toBe('acme');

    const page = { after: undefined, limit: 10 };
    expect(await listGaps(acme, { ...other, vmIds: [] }, page, signal)).toEqual([]);
    expect(await listGaps(acme, { ...other, customerId: 'acme', vmIds: [] }, page, signal)).toHaveLength(1);
  });

  it('bills nothing of another', async () => {
    await filled;
    const usage = new UsageForBilling(acme);
    expect(await usage.pendingCustomers([other, { ...other, customerId: 'acme' }], signal)).toEqual(new Set(['acme']));
    expect(await usage.meteredCustomers('', 10, signal)).toEqual(['acme']);
  });
});
