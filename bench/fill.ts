import { setTimeout as wait } from 'node:timers/promises';
import type { ClickHouseClient } from '@clickhouse/client';

/** Windows of one minute that ClickHouse makes up itself, so that filling millions takes seconds. */
export interface Filling {
  readonly vms: number;
  /** Customers have the same number of VMs each, the last one the rest. */
  readonly customers: number;
  /** Unix seconds, on a whole minute. */
  readonly startSeconds: number;
  readonly minutes: number;
}

/** Bounds ClickHouse's memory. */
const ROWS_PER_STATEMENT = 5_000_000;
const MERGES_TIMEOUT_MS = 120_000;
const POLL_MS = 200;
const PRECEDENCE = 7_430_000_000_000_000_000n;

/** The ids that `fillWindows` gives, for those who ask for what it filled. */
export function filledVm(filling: Filling, vm: number): { customerId: string; vmId: string } {
  const customer = Math.floor(vm / vmsPerCustomer(filling)) + 1;
  return { customerId: `cust-${String(customer).padStart(5, '0')}`, vmId: `vm-${String(vm).padStart(7, '0')}` };
}

/** Fills `windows`: every VM without a gap, every value of its own. */
export async function fillWindows(clickhouse: ClickHouseClient, filling: Filling): Promise<void> {
  const vmsAtOnce = Math.max(1, Math.floor(ROWS_PER_STATEMENT / filling.minutes));
  for (let vm = 0; vm < filling.vms; vm += vmsAtOnce) {
    const vms = Math.min(vmsAtOnce, filling.vms - vm);
    await clickhouse.command({ query: windowsSql(filling, vm, vms) });
  }
}

/** Marks the filled hours as touched, as storing the windows would have. */
export async function touchHours(clickhouse: ClickHouseClient, filling: Filling): Promise<void> {
  const hours = Math.ceil(filling.minutes / 60);
  const customers = Math.ceil(filling.vms / vmsPerCustomer(filling));
  await clickhouse.command({
    query: `INSERT INTO touched_hours (drain_id, customer_id, hour)
      SELECT '${crypto.randomUUID()}', ${customerSql(`intDiv(number, ${hours})`)},
        toDateTime(${filling.startSeconds} + (number % ${hours}) * 3600, 'UTC')
      FROM numbers(${customers * hours})`,
  });
}

/**
 * Waits until ClickHouse has merged what it was filled with: its work would be taken for that of what is measured next.
 * @returns false where it still merges after two minutes
 */
export async function merged(clickhouse: ClickHouseClient): Promise<boolean> {
  const untilMs = performance.now() + MERGES_TIMEOUT_MS;
  while (performance.now() < untilMs) {
    const answer = await clickhouse.query({ query: 'SELECT count() FROM system.merges', format: 'TabSeparated' });
    if (Number(await answer.text()) === 0) return true;
    await wait(POLL_MS);
  }
  return false;
}

/** In the order of the table's key, so that no insert has to sort. */
function windowsSql(filling: Filling, firstVm: number, vms: number): string {
  const { minutes, startSeconds } = filling;
  const start = `toDateTime64(${startSeconds} + minute * 60, 9, 'UTC')`;
  const random = (seed: number, bound: string): string => `cityHash64(number, ${seed}) % ${bound}`;
  return `INSERT INTO windows (customer_id, vm_id, window_start, window_end, value_hash, region, sampled_at,
      cpu_time_nanos, cpu_utilization_pct, cpu_cores_used, memory_bytes_used, memory_bytes_peak, memory_byte_seconds,
      disk_read_bytes, disk_write_bytes, disk_read_ops, disk_write_ops, network_rx_bytes, network_tx_bytes,
      boot_id, instance_id, sequence, credential_id, precedence)
    WITH number % ${minutes} AS minute, intDiv(number, ${minutes}) AS vm,
      ${random(1, '60000000000')} AS cpu, 4096 * (100000 + ${random(2, '1000')}) AS memory,
      ${random(3, '500')} AS ops, addSeconds(${start}, 60) AS until
    SELECT ${customerSql(`intDiv(vm, ${vmsPerCustomer(filling)})`)}, concat('vm-', leftPad(toString(vm), 7, '0')),
      ${start}, until, cityHash64(number), 'us-east1', addNanoseconds(until, 1000 * (${random(4, '20000')})),
      cpu, cpu / 6e8, cpu / 6e10, memory, memory, memory * 60,
      ops * 4096, ops * 8192, ops, ops, ${random(5, '5000000')}, ${random(6, '9000000')},
      '', 'bench', vm, 'bench', ${PRECEDENCE} - number
    FROM numbers(${firstVm * minutes}, ${vms * minutes})`;
}

function customerSql(index: string): string {
  return `concat('cust-', leftPad(toString(${index} + 1), 5, '0'))`;
}

function vmsPerCustomer({ vms, customers }: Filling): number {
  return Math.max(1, Math.floor(vms / customers));
}
