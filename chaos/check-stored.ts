import type { ClickHouseClient } from '@clickhouse/client';
import { setTimeout as wait } from 'node:timers/promises';
import { QUANTITY_COLUMNS } from '../bench/generator/tally.ts';
import type { MeterdProcess } from '../demo/meterd-process.ts';
import { CustomerSums } from './check-usage.ts';
import type { Fleet } from './fleet.ts';
import type { SendLog } from './send-log.ts';

const POLL_MS = 20;
const DRAIN_TIMEOUT_MS = 120_000;
/** How many are named of what is wrong; the figures count all. */
const NAMED_MAX = 5;
/** How long every window of a fleet lasts. */
const MINUTE_NANOS = '60000000000';

/** What is stored and billed, held against what was sent and acknowledged. All but `acknowledged` and `wrong` must be 0. */
export interface Checked {
  readonly acknowledged: number;
  /** Acknowledged windows that are not stored. */
  readonly lost: number;
  /** Windows of which more than one value is stored, though only one was ever sent. */
  readonly twice: number;
  /** Stored windows that were never sent, or have other values than were sent. */
  readonly invented: number;
  /** Totals of customers that the service answers, and that are not the sum of each stored window once. */
  readonly billedWrong: number;
  readonly wrong: readonly string[];
}

interface StoredRow {
  readonly vm_id: string;
  readonly start_ms: string;
  readonly nanos: string;
  readonly customer: string;
  readonly hashes: string;
  readonly quantities: readonly string[];
}

/** Resolves once nothing that meterd acknowledged is still to be stored. @throws Error where that takes two minutes */
export async function untilDrained({ url }: MeterdProcess, timeoutMs = DRAIN_TIMEOUT_MS): Promise<void> {
  const untilMs = performance.now() + timeoutMs;
  while ((await gaugeOf(url, 'meterd_spool_unapplied_bytes')) > 0) {
    if (performance.now() > untilMs) throw new Error(`not everything is stored after ${timeoutMs / 1000} s`);
    await wait(POLL_MS);
  }
}

/** A gauge without labels of its own. @throws Error where meterd does not tell it */
export async function gaugeOf(url: string, name: string): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const [, value] = new RegExp(String.raw`^${name}(?:\{.*\})? (\S+)`, 'm').exec(metrics) ?? [];
  if (value === undefined) throw new Error(`${url}/metrics does not tell ${name}`);
  return Number(value);
}

/** A counter, over all its series with this label (`state="open"`); 0 where there is none yet. */
export async function counterOf(url: string, name: string, label: string): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const series = metrics.split('\n').filter((line) => line.startsWith(`${name}_total{`) && line.includes(label));
  return series.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf('}') + 2).split(' ')[0]), 0);
}

/**
 * Compares all windows of a fleet, once everything is drained. Leans on nothing of the service's but, at the end, its
 * answers about usage, which must be the sums of what is stored, each window once.
 */
export async function checkStored(
  meterd: MeterdProcess,
  clickhouse: ClickHouseClient,
  { fleet, log }: { fleet: Fleet; log: SendLog },
): Promise<Checked> {
  await untilDrained(meterd);
  const findings = new Findings(fleet, log);
  for await (const row of storedRows(clickhouse, fleet.options.name)) findings.add(row);
  const lost = findings.lost();
  const billedWrong = await findings.sums.unlike(meterd, fleet);
  billedWrong.forEach((text) => findings.tell(text));
  return {
    acknowledged: log.acknowledged.size * fleet.options.windowsPerBatch,
    lost,
    twice: findings.twice,
    invented: findings.invented,
    billedWrong: billedWrong.length,
    wrong: findings.wrong,
  };
}

class Findings {
  readonly fleet: Fleet;
  readonly #log: SendLog;
  readonly #seen = new Set<string>();
  readonly sums = new CustomerSums();
  readonly wrong: string[] = [];
  twice = 0;
  invented = 0;

  constructor(fleet: Fleet, log: SendLog) {
    this.fleet = fleet;
    this.#log = log;
  }

  add(row: StoredRow): void {
    const place = this.fleet.placeOf(row.vm_id, Number(row.start_ms));
    const what = `${row.vm_id} at ${row.start_ms}`;
    if (place === undefined || place.batch >= this.#log.sent) {
      this.invented++;
      this.tell(`${what} was never sent`);
      return;
    }
    const { customerId, startMs, quantities } = this.fleet.window(place);
    if (row.hashes !== '1') {
      this.twice++;
      this.tell(`${what} is stored with ${row.hashes} values`);
    } else if (
      row.nanos !== MINUTE_NANOS ||
      customerId !== row.customer ||
      quantities.join() !== row.quantities.join()
    ) {
      this.invented++;
      this.tell(
        `${what} is stored for ${row.nanos} ns of ${row.customer} with ${row.quantities.join()}, not ${quantities.join()}`,
      );
    }
    this.#seen.add(`${place.batch}/${place.index}`);
    this.sums.add(customerId, startMs, 1, quantities);
  }

  lost(): number {
    let lost = 0;
    for (const batch of this.#log.acknowledged) {
      for (let index = 0; index < this.fleet.options.windowsPerBatch; index++) {
        if (this.#seen.has(`${batch}/${index}`)) continue;
        lost++;
        this.tell(`window ${index} of batch ${batch} was acknowledged and is not stored`);
      }
    }
    return lost;
  }

  tell(text: string): void {
    if (this.wrong.length < NAMED_MAX) this.wrong.push(text);
  }
}

async function* storedRows(clickhouse: ClickHouseClient, name: string): AsyncGenerator<StoredRow> {
  const answer = await clickhouse.query({
    query: `SELECT vm_id, toUnixTimestamp64Milli(window_start) AS start_ms, any(customer_id) AS customer,
        toString(toUnixTimestamp64Nano(window_end) - toUnixTimestamp64Nano(window_start)) AS nanos,
        uniqExact(value_hash) + uniqExact(customer_id) - 1 AS hashes,
        [${QUANTITY_COLUMNS.map((column) => `any(${column})`).join(', ')}] AS quantities
      FROM windows WHERE startsWith(vm_id, {prefix: String}) GROUP BY vm_id, window_start, window_end`,
    query_params: { prefix: `${name}-` },
    format: 'JSONEachRow',
  });
  for await (const rows of answer.stream<StoredRow>()) for (const row of rows) yield row.json();
}
