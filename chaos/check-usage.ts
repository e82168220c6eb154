import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { QUANTITIES } from '../bench/generator/tally.ts';
import { clientOf } from '../demo/clients.ts';
import type { MeterdProcess } from '../demo/meterd-process.ts';
import type { UsageQuantities } from '../gen/billing/v1/metrics_pb.ts';
import { BillingQueryService, UsageDimension } from '../gen/billing/v1/query_pb.ts';
import type { Fleet } from './fleet.ts';
import { runJob } from './run-job.ts';

const HOUR_MS = 3_600_000;
/** All hours of a fleet are one page. */
const PAGE_SIZE = 10_000;
const NOTHING = [0n, ...QUANTITIES.map(() => 0n)];

/** By customer and hour: how many windows, and the sum of each quantity. */
export class CustomerSums {
  readonly #sums = new Map<string, Map<number, bigint[]>>();

  /**
   * @param startMs when they start: all of them in one hour, and none beyond its end
   * @param quantities of these windows together, in the order of `QUANTITIES`; whole numbers
   */
  add(customerId: string, startMs: number, windows: number, quantities: readonly number[]): void {
    const hours = this.#sums.get(customerId) ?? new Map<number, bigint[]>();
    const hourMs = Math.floor(startMs / HOUR_MS) * HOUR_MS;
    hours.set(hourMs, added(hours.get(hourMs) ?? NOTHING, [windows, ...quantities].map(BigInt)));
    this.#sums.set(customerId, hours);
  }

  /** @returns for each customer whose usage, as meterd answers it, is not its sums, hour by hour, what it is and what it must be */
  async unlike(meterd: MeterdProcess, fleet: Fleet): Promise<string[]> {
    await runJob(meterd, 'rollup');
    const queries = clientOf(BillingQueryService, meterd.url, meterd.adminKey);
    const range = { start: timestampFromMs(fleet.firstMs), end: timestampFromMs(fleet.endMs) };
    const byHour = { ...range, groupBy: [UsageDimension.HOUR], pageSize: PAGE_SIZE };
    const wrong: string[] = [];
    for (const [customerId, hours] of this.#sums) {
      const { total, groups } = await queries.getCustomerUsage({ customerId, ...byHour });
      const answered = new Map(
        groups.map(({ start, quantities }) => [start && timestampMs(start), sumsOf(quantities)]),
      );
      const unlike = [...new Set([...hours.keys(), ...answered.keys()])].filter(
        (hourMs) => textOf(answered.get(hourMs)) !== textOf(hourMs === undefined ? undefined : hours.get(hourMs)),
      );
      const sums = [...hours.values()].reduce(added, NOTHING);
      if (unlike.length === 0 && textOf(sumsOf(total)) === textOf(sums)) continue;
      const shown = `${textOf(sumsOf(total))}, and is ${textOf(sums)}`;
      wrong.push(`usage of ${customerId} is answered as ${shown}; wrong are the hours ${unlike.join(', ') || 'none'}`);
    }
    return wrong;
  }
}

function added(some: readonly bigint[], more: readonly bigint[]): bigint[] {
  return some.map((value, index) => value + (more[index] ?? 0n));
}

/** An hour without any usage and one that is not there are the same. */
function textOf(sums: readonly bigint[] = NOTHING): string {
  return sums.join();
}

function sumsOf(answered: UsageQuantities | undefined): bigint[] | undefined {
  if (answered === undefined) return undefined;
  const { windows, cpuTimeNanos, memoryByteSeconds, diskReadBytes, diskWriteBytes } = answered;
  const { diskReadOps, diskWriteOps, networkRxBytes, networkTxBytes } = answered;
  const quantities = [cpuTimeNanos, memoryByteSeconds, diskReadBytes, diskWriteBytes];
  return [windows, ...quantities, diskReadOps, diskWriteOps, networkRxBytes, networkTxBytes].map(BigInt);
}
