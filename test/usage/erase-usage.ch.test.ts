import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { countUsage, eraseUsage } from '../../src/usage/erase-usage.ts';
import { rollUp } from '../../src/usage/rollup.ts';
import { select } from '../../src/usage/select.ts';
import { clickHouseForTest } from '../database.ts';
import { choose, report, store } from './stored.ts';

const { client } = await clickHouseForTest();
const { signal } = new AbortController();

/** The tables that have a row of the customer, found without knowing which there are. */
async function tablesWith(customerId: string): Promise<string[]> {
  const tables = await select<{ table: string }>(
    client,
    `SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'customer_id' ORDER BY table`,
    {},
    signal,
  );
  expect(tables.length).toBeGreaterThan(7);
  const found: string[] = [];
  for (const { table } of tables) {
    const query = `SELECT 1 FROM ${table} WHERE customer_id = {customer:String} LIMIT 1`;
    if ((await select(client, query, { customer: customerId }, signal)).length > 0) found.push(table);
  }
  return found;
}

async function insert(table: string, row: object): Promise<void> {
  await client.insert({ table, values: [row], format: 'JSONEachRow' });
}

/** A row in every table, of a VM of the same name as every other customer's here, and one of its own. */
async function aCustomer(): Promise<{ customerId: string; vmId: string }> {
  const [customerId, vmId] = [randomUUID(), randomUUID()];
  const shared = report(customerId, 0);
  await store(client, [shared, { ...shared, cpuTimeNanos: 5n, receipt: 1n }, report(customerId, 1, { vmId })]);
  await choose(client, shared, 0n);
  await rollUp({ clickhouse: client, clock: systemClock, signal });
  await store(client, [report(customerId, 2)]);
  await insert('refused_windows', { customer_id: customerId, received_at: new Date().toISOString(), id: vmId });
  await insert('counter_samples', { customer_id: customerId, vm_id: vmId });
  await insert('conflicting_readings', { customer_id: customerId, vm_id: vmId });
  await insert('key_customers', { customer_id: customerId, credential_id: 'key-1' });
  await insert('usage_estimates', { customer_id: customerId, vm_id: vmId, version: 1 });
  await insert('vm_events', { customer_id: customerId, vm_id: vmId, kind: 'started' });
  await insert('vm_events', { vm_id: vmId, kind: 'stopped' });
  return { customerId, vmId };
}

async function eventsOf(vmId: string): Promise<number> {
  return (await select(client, 'SELECT 1 FROM vm_events WHERE vm_id = {vm:String}', { vm: vmId }, signal)).length;
}

describe('eraseUsage', () => {
  it('leaves no row of the customer in any table, and every row of the others', async () => {
    const [gone, other] = [await aCustomer(), await aCustomer()];
    await insert('vm_events', { vm_id: 'vm-1', kind: 'stopped' });
    const all = await tablesWith(other.customerId);
    expect(all).toHaveLength(10);
    const counted = await countUsage(client, other.customerId, signal);
    expect(Object.keys(counted).toSorted()).toEqual(all);
    expect(counted).toMatchObject({ windows: 4, vm_events: 2, refused_windows: 1 });
    await eraseUsage(client, gone.customerId, async () => undefined, signal);
    expect(await tablesWith(gone.customerId)).toEqual([]);
    expect(await countUsage(client, gone.customerId, signal)).toEqual({});
    // The notice about vm-1 was of either; now it is of the one that is left.
    expect(await countUsage(client, other.customerId, signal)).toEqual({ ...counted, vm_events: 3 });
    // A notice that names no customer goes with the VM, unless another customer has a VM of that name.
    expect([await eventsOf(gone.vmId), await eventsOf(other.vmId), await eventsOf('vm-1')]).toEqual([0, 2, 1]);
  });

  it('lets no rollup that had read the windows leave hours behind', async () => {
    const { customerId } = await aCustomer();
    const windows = async () => (await countUsage(client, customerId, signal))['windows'];
    // As a rollup under way: it writes what it computed before, when it is waited for.
    await eraseUsage(
      client,
      customerId,
      async () => {
        expect(await windows()).toBeUndefined();
        await insert('usage_hours', { customer_id: customerId, vm_id: 'vm-1', version: 9 });
      },
      signal,
    );
    expect(await tablesWith(customerId)).toEqual([]);
  });

  it('goes on after it was cut short', async () => {
    const { customerId } = await aCustomer();
    const dying = eraseUsage(client, customerId, () => Promise.reject(new Error('killed')), signal);
    await expect(dying).rejects.toThrow('killed');
    expect(await tablesWith(customerId)).toEqual(['touched_hours', 'usage_estimates', 'usage_hours']);
    await eraseUsage(client, customerId, async () => undefined, signal);
    expect(await tablesWith(customerId)).toEqual([]);
  });
});
