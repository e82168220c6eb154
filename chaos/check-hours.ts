import type { ClickHouseClient } from '@clickhouse/client';
import { QUANTITIES, QUANTITY_COLUMNS } from '../bench/generator/tally.ts';
import type { MeterdProcess } from '../demo/meterd-process.ts';
import { type Checked, untilDrained } from './check-stored.ts';
import { CustomerSums } from './check-usage.ts';
import { type Fleet, MINUTES_PER_HOUR } from './fleet.ts';
import type { SendLog } from './send-log.ts';

/** Hours of the fleet's VMs that are asked for at once: with 250 VMs in each, some 150,000 windows. */
const GROUPS_PER_QUERY = 10;
const NAMED_MAX = 5;

/** What is stored of one VM, all of whose windows are of one hour. */
interface StoredHour {
  readonly vm_id: string;
  readonly customer: string;
  /** A bit for each minute that a window starts at. */
  readonly minutes: string;
  /** Windows of which more than one value is stored, or of more than one customer. */
  readonly twice: string;
  /** Windows that are no minute of the hour at `hour_ms`. */
  readonly odd: string;
  readonly hour_ms: string;
  readonly quantities: readonly string[];
}

/**
 * As `checkStored`, for fleets too large to look at each window here: compares each VM's hour, by the minutes that are there and the sum
 * of each quantity over them. Takes memory for the numbers of batches and one query's hours, however many windows there are.
 */
export async function checkHours(
  meterd: MeterdProcess,
  clickhouse: ClickHouseClient,
  { fleet, log }: { fleet: Fleet; log: SendLog },
): Promise<Checked> {
  await untilDrained(meterd);
  const findings = new HourFindings(fleet, log);
  const groups = Math.ceil(log.sent / MINUTES_PER_HOUR);
  for (let first = 0; first < groups; first += GROUPS_PER_QUERY) {
    const last = Math.min(groups, first + GROUPS_PER_QUERY) - 1;
    const hours = new Map((await storedHours(clickhouse, fleet, { first, last })).map((hour) => [hour.vm_id, hour]));
    for (let group = first; group <= last; group++) findings.add(group, hours);
  }
  findings.addUnknown(await countVms(clickhouse, fleet.options.name));
  const billedWrong = await findings.sums.unlike(meterd, fleet);
  billedWrong.forEach((text) => findings.tell(text));
  const { lost, twice, invented, wrong } = findings;
  const acknowledged = log.acknowledged.size * fleet.options.windowsPerBatch;
  return { acknowledged, lost, twice, invented, billedWrong: billedWrong.length, wrong };
}

class HourFindings {
  readonly sums = new CustomerSums();
  readonly wrong: string[] = [];
  lost = 0;
  twice = 0;
  /** Stored windows that were never sent, VMs of none, and hours whose sums are not those of the windows sent. */
  invented = 0;
  readonly #fleet: Fleet;
  readonly #log: SendLog;
  #vms = 0;

  constructor(fleet: Fleet, log: SendLog) {
    this.#fleet = fleet;
    this.#log = log;
  }

  /** All VMs of a group, which are in the same hour. */
  add(group: number, hours: ReadonlyMap<string, StoredHour>): void {
    for (let index = 0; index < this.#fleet.options.windowsPerBatch; index++) {
      const first = this.#fleet.window({ batch: group * MINUTES_PER_HOUR, index });
      const hour = hours.get(first.vmId);
      if (hour !== undefined) this.#vms++;
      this.#addHour({ group, index, ...first }, hour);
    }
  }

  /** @param vms how many are stored, whichever their names */
  addUnknown(vms: number): void {
    if (vms === this.#vms) return;
    this.invented += Math.abs(vms - this.#vms);
    this.tell(`${vms} VMs are stored, and ${this.#vms} of those that were sent`);
  }

  tell(text: string): void {
    if (this.wrong.length < NAMED_MAX) this.wrong.push(text);
  }

  #addHour(
    {
      group,
      index,
      vmId,
      startMs,
      customerId,
    }: { group: number; index: number; vmId: string; startMs: number; customerId: string },
    hour: StoredHour | undefined,
  ): void {
    const minutes = BigInt(hour?.minutes ?? 0);
    const sums = QUANTITIES.map(() => 0);
    let windows = 0;
    for (let minute = 0; minute < MINUTES_PER_HOUR; minute++) {
      const batch = group * MINUTES_PER_HOUR + minute;
      const isStored = ((minutes >> BigInt(minute)) & 1n) === 1n;
      if (!isStored && this.#log.acknowledged.has(batch)) {
        this.lost++;
        this.tell(`window ${index} of batch ${batch} was acknowledged and is not stored`);
      }
      if (!isStored) continue;
      if (batch >= this.#log.sent) {
        this.invented++;
        this.tell(`window ${index} of batch ${batch} is stored and was never sent`);
      }
      windows++;
      this.#fleet.window({ batch, index }).quantities.forEach((value, at) => (sums[at] = (sums[at] ?? 0) + value));
    }
    if (hour === undefined) return;
    this.sums.add(customerId, startMs, windows, sums);
    this.twice += Number(hour.twice);
    const isRight = hour.odd === '0' && Number(hour.hour_ms) === startMs && hour.customer === customerId;
    if (isRight && hour.quantities.join() === sums.join()) return;
    this.invented++;
    this.tell(
      `the hour of ${vmId} is stored as ${JSON.stringify(hour)}, not ${customerId} at ${startMs} with ${sums.join()}`,
    );
  }
}

/** All of these groups' VMs. Each window counts once, whatever is stored of it. */
async function storedHours(
  clickhouse: ClickHouseClient,
  fleet: Fleet,
  { first, last }: { first: number; last: number },
): Promise<StoredHour[]> {
  const prefixes = Array.from({ length: last - first + 1 }, (_, at) => `${fleet.options.name}-${first + at}-`);
  const wanted = prefixes.map((prefix) => `startsWith(vm_id, '${prefix}')`).join(' OR ');
  const answer = await clickhouse.query({
    query: `SELECT vm_id, any(owner) AS customer, toString(groupBitOr(bitShiftLeft(toUInt64(1), toMinute(window_start)))) AS minutes,
        toString(sum(hashes != 1)) AS twice, toString(toUnixTimestamp(min(toStartOfHour(window_start))) * 1000) AS hour_ms,
        toString(countIf(window_end != window_start + INTERVAL 1 MINUTE OR window_start != toStartOfMinute(window_start))
          + uniqExact(toStartOfHour(window_start)) + uniqExact(owner) - 2) AS odd,
        [${QUANTITY_COLUMNS.map((column) => `toString(sum(${column}))`).join(', ')}] AS quantities
      FROM (SELECT vm_id, window_start, window_end, any(customer_id) AS owner,
          uniqExact(value_hash) + uniqExact(customer_id) - 1 AS hashes,
          ${QUANTITY_COLUMNS.map((column) => `any(${column}) AS ${column}`).join(', ')}
        FROM windows WHERE ${wanted} GROUP BY vm_id, window_start, window_end)
      GROUP BY vm_id`,
    format: 'JSONEachRow',
  });
  return answer.json<StoredHour>();
}

/** How many VMs of a fleet are stored, known to it or not. Read in the order in which they lie, so that it takes no memory for them. */
async function countVms(clickhouse: ClickHouseClient, name: string): Promise<number> {
  const answer = await clickhouse.query({
    query: `SELECT toString(count()) AS vms FROM (SELECT vm_id FROM windows
      WHERE startsWith(vm_id, {prefix: String}) GROUP BY customer_id, vm_id SETTINGS optimize_aggregation_in_order = 1)`,
    query_params: { prefix: `${name}-` },
    format: 'JSONEachRow',
  });
  const [row] = await answer.json<{ vms: string }>();
  return Number(row?.vms);
}
